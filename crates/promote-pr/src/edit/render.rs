//! The new text of one scalar, in the style of the old one.

use super::index::{Kind, Node, Role, Source, Target};
use super::lex::{Lexeme, Lexer, is_blank, is_break};
use super::note::{Code, Problem};
use super::plain;
use super::splice::Splice;
use granit_parser::{Event, ScalarStyle};
use std::fmt::Write;

/// What all scalars of a file have to keep to.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// The file is JSON: nothing but double quotes.
    pub(super) json: bool,
    /// Use double quotes, whatever the old style.
    pub(super) quote: bool,
}

/// The change that makes `target` hold `value`; `None` if it does already.
pub(super) fn render<'v>(
    source: &Source<'_>,
    target: &Target,
    value: &'v str,
    form: Form,
) -> Result<Option<Splice<'v>>, Problem> {
    let refuse = |code| Err(Problem::new(code, target.at));
    let Some(node) = source.node(target.node) else {
        return refuse(Code::NotScalar);
    };
    let Kind::Scalar(style) = node.kind else {
        return refuse(Code::NotScalar);
    };
    let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
    let old = source.decoded(node);
    if !node.is_empty() && (old == value || is_block && chomped(old) == value && !value.is_empty()) {
        return Ok(None);
    }
    if is_typed(source, node) {
        return refuse(Code::Tagged);
    }
    let splice = |range, text| Ok(Some(Splice { node: target.node, range, text, value }));
    let plain_or_double = || match plain::fits(value, node.in_flow) && !form.json && !form.quote {
        true => value.to_owned(),
        false => double_quoted(value),
    };
    if node.is_empty() {
        if node.in_flow {
            return refuse(Code::EmptyInFlow);
        }
        let at = if node.has_properties { node.range.start } else { target.insert };
        return splice(at..at, format!(" {}", plain_or_double()));
    }
    match style {
        ScalarStyle::Plain => {
            let text = plain_or_double();
            if text.starts_with('"') && tab_line_follows(source, node) {
                return refuse(Code::TabLine);
            }
            splice(node.range.clone(), text)
        }
        ScalarStyle::SingleQuoted if !form.quote && !form.json && !value.chars().any(plain::needs_escape) => {
            splice(node.range.clone(), format!("'{}'", value.replace('\'', "''")))
        }
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => splice(node.range.clone(), double_quoted(value)),
        ScalarStyle::Literal | ScalarStyle::Folded => match block(source, node, style, value, form) {
            Ok((range, text)) => splice(range, text),
            Err(code) => refuse(code),
        },
    }
}

/// A tag that makes the scalar something else than a string. Local tags are left to their reader.
fn is_typed(source: &Source<'_>, node: &Node) -> bool {
    match source.events.get(node.event) {
        Some(Event::Scalar(_, _, _, Some(tag))) => {
            let uri = [tag.handle(), tag.suffix()].concat();
            uri.strip_prefix("tag:yaml.org,2002:").is_some_and(|kind| kind != "str")
        }
        _ => false,
    }
}

/// Quoted with JSON's escapes, which are YAML's too.
fn double_quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if plain::needs_escape(c) => write!(quoted, "\\u{:04X}", u32::from(c)).unwrap_or_default(),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a blank line with a tab follows the scalar's line; go-yaml reads past it after plain scalars only.
fn tab_line_follows(source: &Source<'_>, node: &Node) -> bool {
    let rest = source.slice(node.range.end..source.text.len());
    let blank = rest.trim_start_matches([' ', '\t', '\r', '\n']);
    let blank = rest.get(..rest.len() - blank.len()).unwrap_or_default();
    blank.split_once(['\r', '\n']).is_some_and(|(_, lines)| lines.contains('\t'))
}

fn chomped(text: &str) -> &str {
    text.trim_end_matches('\n')
}

/// A block scalar of one line: the header stays where the block can hold the value, else the whole becomes
/// double-quoted in the header's place, so that a comment on that line stays.
fn block(
    source: &Source<'_>,
    node: &Node,
    style: ScalarStyle,
    value: &str,
    form: Form,
) -> Result<(std::ops::Range<usize>, String), Code> {
    let line = source.lines.line(node.range.start);
    let line_start = source.lines.start(line);
    let indent = source.slice(line_start..node.range.start);
    if node.role == Role::Root && indent.is_empty() {
        return Err(Code::RootBlock);
    }
    let body = source.slice(node.range.clone());
    let text = body.split(['\r', '\n']).next().unwrap_or_default();
    let rest = body.get(text.len()..).unwrap_or_default();
    if source.decoded(node).trim_end_matches('\n').contains('\n')
        || !rest.bytes().all(|byte| is_blank(byte) || is_break(byte))
    {
        return Err(Code::MultilineBlock);
    }
    let text_end = node.range.start + text.len();
    if !text.is_empty() && !form.quote && holds(style, value) {
        let eol = line_break_before(source, line_start);
        let lines = value.split('\n').enumerate().map(|(index, line)| match (index, line) {
            (0, line) => line.to_owned(),
            (_, "") => eol.to_owned(),
            (_, line) => [eol, indent, line].concat(),
        });
        return Ok((node.range.start..text_end, lines.collect()));
    }

    let previous = source.token_before(node.range.start).map_or(0, |token| token.range.end);
    let header = Lexer::new(source.text, previous..node.range.start)
        .filter(|(lexeme, _)| *lexeme == Lexeme::Header)
        .last()
        .ok_or(Code::MultilineBlock)?
        .1;
    let mut replacement = double_quoted(value);
    if text.is_empty() {
        return Ok((header, replacement));
    }
    replacement.push_str(source.slice(header.end..line_start));
    let next_line = source.lines.start(line + 1);
    Ok((header.start..next_line, replacement))
}

/// Whether a block can hold a value under any chomping indicator and without an indentation indicator.
fn holds(style: ScalarStyle, value: &str) -> bool {
    let folds = style == ScalarStyle::Folded && value.contains('\n');
    let blank_line = |line: &str| !line.is_empty() && line.bytes().all(is_blank);
    !folds
        && !value.is_empty()
        && !value.starts_with([' ', '\t', '\n'])
        && !value.ends_with('\n')
        && !value.split('\n').any(blank_line)
        && !value.chars().any(|c| c != '\n' && plain::needs_escape(c))
}

/// The line break that ends the line before the one that starts here.
fn line_break_before<'a>(source: &Source<'a>, start: usize) -> &'a str {
    let before = source.slice(0..start);
    ["\r\n", "\r", "\n"].into_iter().find(|end| before.ends_with(end)).unwrap_or("\n")
}

#[cfg(test)]
mod tests {
    use super::super::{File, Limits, Selector, edit};
    use super::*;

    /// Sets the value at `a`, or else that of the first item; `Err` is the code of the note.
    fn check_in(path: &str, before: &str, value: &str, expect: Result<&str, Code>) {
        let to = if before.trim_start_matches('\u{feff}').starts_with('-') { "[0]" } else { "a" };
        let target = super::super::Target::Path(Selector { path: to.to_owned(), ..Selector::default() });
        let update = super::super::Update::new(target, value);
        let edited = edit([File { path, content: before.as_bytes() }], &[update], &Limits::default());
        let got = match (edited.notes.first(), edited.files.first()) {
            (Some(note), _) => Err(note.code),
            (None, Some(file)) => Ok(std::str::from_utf8(&file.content).unwrap()),
            (None, None) => Ok(before),
        };
        assert_eq!(got, expect, "{before:?} = {value:?}");
    }

    fn check(before: &str, value: &str, expect: Result<&str, Code>) {
        check_in("file.yaml", before, value, expect);
    }

    #[test]
    fn keeps_the_style() {
        check("a: x # c\n", "6.3.0", Ok("a: 6.3.0 # c\n"));
        check("a: x\n", "1.10", Ok("a: \"1.10\"\n"));
        check("a: x\n  y\nb: 1\n", "v", Ok("a: v\nb: 1\n"));
        check("a: {b: 1}\n", "v", Err(Code::NotScalar));
        check("{a: x}\n", "y,z", Ok("{a: \"y,z\"}\n"));
        check("a: 'x'\n", "it's", Ok("a: 'it''s'\n"));
        check("a: 'x'\n", "true", Ok("a: 'true'\n"));
        check("a: 'x'\n", "y\tz", Ok("a: 'y\tz'\n"));
        check("a: 'x'\n", "y\u{200b}z", Ok("a: \"y\\u200Bz\"\n"));
        check("a: \"x\"\n", "\"\\\u{8}\u{c}\n\r\t\0/é", Ok("a: \"\\\"\\\\\\b\\f\\n\\r\\t\\u0000/é\"\n"));
    }

    #[test]
    fn leaves_an_equal_value() {
        check("a: 1.10\n", "1.10", Ok("a: 1.10\n"));
        check("a: ~\n", "~", Ok("a: ~\n"));
        check("a: !!int 6\n", "6", Ok("a: !!int 6\n"));
        check("a: |\n  x\n\n", "x", Ok("a: |\n  x\n\n"));
        check("a: |\n  x\n  y\n", "x\ny", Ok("a: |\n  x\n  y\n"));
        check("a:\n", "", Ok("a: \"\"\n"));
    }

    #[test]
    fn tags() {
        check("a: !!str x\n", "v", Ok("a: !!str v\n"));
        check("a: !local x\n", "v", Ok("a: !local v\n"));
        check("a: ! x\n", "v", Ok("a: ! v\n"));
        check("a: !!int 1\n", "v", Err(Code::Tagged));
        check("a: !!binary eA==\n", "v", Err(Code::Tagged));
        check("a: !<tag:yaml.org,2002:float> 1\n", "v", Err(Code::Tagged));
        check("%TAG !y! tag:yaml.org,2002:\n---\na: !y!bool true\n", "v", Err(Code::Tagged));
        check("a: !!null\n", "v", Err(Code::Tagged));
    }

    #[test]
    fn missing_values() {
        check("a:\nb: 1\n", "v", Ok("a: v\nb: 1\n"));
        check("a :   # c\n", "v", Ok("a : v   # c\n"));
        check("a:", "true", Ok("a: \"true\""));
        check("a: &x\nb: *x\n", "v", Ok("a: &x v\nb: *x\n"));
        check("a: !!str # c\n", "v", Ok("a: !!str v # c\n"));
        check("? a\n# c\n:\n", "v", Ok("? a\n# c\n: v\n"));
        check("-\n- b\n", "v", Ok("- v\n- b\n"));
        check("\u{feff}- # c\n", "v", Ok("\u{feff}- v # c\n"));
        check("{a: }\n", "v", Err(Code::EmptyInFlow));
    }

    #[test]
    fn block_scalars() {
        check("a: |\n  x\nb: 1\n", "y", Ok("a: |\n  y\nb: 1\n"));
        check("a: >2+ # c\n  x\n\n", "y z", Ok("a: >2+ # c\n  y z\n\n"));
        check("a: |-\n\tx", "y", Err(Code::Parse));
        check("a: |\r\n  x\r\n", "y\n\nz", Ok("a: |\r\n  y\r\n\r\n  z\r\n"));
        check("a: |\r  x\r", "y\nz", Ok("a: |\r  y\r  z\r"));
        check("a: >\n  x\n", "y\nz", Ok("a: \"y\\nz\"\n"));
        check("a: |\n  x\n", "y\n", Ok("a: \"y\\n\"\n"));
        check("a: |\n  x\n", " y", Ok("a: \" y\"\n"));
        check("a: |\n  x\n", "", Ok("a: \"\"\n"));
        check("a: &x |- # c\n  x\n\n# d\nb: 1\n", "\t", Ok("a: &x \"\\t\" # c\n\n# d\nb: 1\n"));
        check("a: | # c\nb: 1\n", "v", Ok("a: \"v\" # c\nb: 1\n"));
        check("a: |\n", "v", Ok("a: \"v\"\n"));
        check("- |\n- b\n", "v", Ok("- \"v\"\n- b\n"));
        check("a: |\n  x\n  y\n", "v", Err(Code::MultilineBlock));
        check("a: >\n  x\n  y\n", "v", Err(Code::MultilineBlock));
        check("a: |\n\n  x\n", "v", Err(Code::MultilineBlock));
    }

    #[test]
    fn json_stays_json() {
        check_in("file.json", "{\"a\": 1}\n", "v", Ok("{\"a\": \"v\"}\n"));
        check_in("file.JSON", "{\"a\":null}\n", "v", Ok("{\"a\":\"v\"}\n"));
        check_in("json", "{\"a\": 1}\n", "v", Ok("{\"a\": v}\n"));
    }

    #[test]
    fn tab_lines() {
        check("a: x\n\t\nb: 1\n", "v", Ok("a: v\n\t\nb: 1\n"));
        check("a: x\n\t\nb: 1\n", "true", Err(Code::TabLine));
        check("a: x\t\nb: 1\n", "true", Ok("a: \"true\"\t\nb: 1\n"));
    }
}
