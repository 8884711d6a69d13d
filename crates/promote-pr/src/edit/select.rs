//! Which scalar a field path leads to.

use super::Selector;
use super::index::{Found, Kind, NodeId, Role, Source, Target};
use super::lex::{Lexeme, Lexer};
use super::note::{Code, Problem};
use std::iter::Peekable;
use std::str::Chars;

/// A parsed field path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A key, or the place of an item if it is a number.
    Name(String),
    /// A key, even if it looks like a number.
    Key(String),
    /// The item whose `key` holds `value`.
    Item { key: String, value: String },
}

/// Reads a path; the error says what is wrong with it.
pub(super) fn parse(path: &str) -> Result<Path, String> {
    let steps = match path.strip_prefix('/') {
        Some(pointer) => parse_pointer(pointer)?,
        None => parse_dotted(path)?,
    };
    Ok(Path(steps))
}

/// [RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)
fn parse_pointer(pointer: &str) -> Result<Vec<Step>, String> {
    let unescape = |step: &str| {
        let mut name = String::new();
        let mut chars = step.chars();
        while let Some(c) = chars.next() {
            match (c, if c == '~' { chars.next() } else { None }) {
                ('~', Some('0')) => name.push('~'),
                ('~', Some('1')) => name.push('/'),
                ('~', _) => return Err("in a JSON pointer, ~ is written ~0".to_owned()),
                (c, _) => name.push(c),
            }
        }
        Ok(Step::Name(name))
    };
    pointer.split('/').map(unescape).collect()
}

fn parse_dotted(path: &str) -> Result<Vec<Step>, String> {
    let mut chars = path.chars().peekable();
    let mut steps = Vec::new();
    chars.next_if_eq(&'.');
    loop {
        match chars.peek() {
            Some('[') => {
                chars.next();
                steps.push(parse_bracket(&mut chars)?);
            }
            Some('"') => {
                chars.next();
                steps.push(Step::Key(parse_quoted(&mut chars)?));
            }
            _ => steps.push(parse_name(&mut chars)?),
        }
        match chars.peek() {
            None => return Ok(steps),
            Some('.') => {
                chars.next();
            }
            Some('[') => {}
            Some(c) => return Err(format!("{c:?} follows a closing quote or bracket")),
        }
    }
}

fn parse_name(chars: &mut Peekable<Chars<'_>>) -> Result<Step, String> {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|&c| c != '.' && c != '[') {
        match c {
            '\\' => name.push(chars.next().ok_or("it ends in a backslash")?),
            ']' => return Err("] without [".to_owned()),
            c => name.push(c),
        }
    }
    match name.as_str() {
        "" => Err("a step is empty".to_owned()),
        "*" => Err("it has a wildcard, but must lead to one scalar".to_owned()),
        _ => Ok(Step::Name(name)),
    }
}

/// What follows `[`: `0`, `key`, `"key"` or `key=value`.
fn parse_bracket(chars: &mut Peekable<Chars<'_>>) -> Result<Step, String> {
    if chars.next_if_eq(&'"').is_some() {
        let key = parse_quoted(chars)?;
        return match chars.next() {
            Some(']') => Ok(Step::Key(key)),
            _ => Err("[\" is not closed by \"]".to_owned()),
        };
    }
    let mut inner = String::new();
    loop {
        match chars.next() {
            Some(']') => break,
            Some(c) => inner.push(c),
            None => return Err("[ is not closed".to_owned()),
        }
    }
    match inner.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Step::Item { key: key.to_owned(), value: value.to_owned() }),
        Some(_) => Err("a key is missing before =".to_owned()),
        None if inner.is_empty() => Err("a step is empty".to_owned()),
        None if inner == "*" => Err("it has a wildcard, but must lead to one scalar".to_owned()),
        None => Ok(Step::Name(inner)),
    }
}

fn parse_quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut key = String::new();
    loop {
        match chars.next() {
            Some('"') => return Ok(key),
            Some('\\') => key.push(chars.next().ok_or("it ends in a backslash")?),
            Some(c) => key.push(c),
            None => return Err("a quote is not closed".to_owned()),
        }
    }
}

/// The one scalar that the path leads to in the selected documents.
pub(super) fn select(source: &Source<'_>, path: &Path, selector: &Selector) -> Found {
    let mut found = Found::default();
    let mut matches = source
        .documents
        .iter()
        .enumerate()
        .filter(|&(index, &root)| is_selected(source, root, index, selector))
        .filter_map(|(_, &root)| walk(source, root, path).transpose());
    match (matches.next(), matches.next()) {
        (None, _) => found.problems.push(Problem::new(Code::NoMatch, 0)),
        (Some(Ok(target)), None) => found.targets.push(target),
        (Some(Err(problem)), None) => found.problems.push(problem),
        (Some(_), Some(second)) => {
            let at = second.map_or_else(|problem| problem.at, |target| target.at);
            found.problems.push(Problem::new(Code::Ambiguous, at));
        }
    }
    found
}

fn is_selected(source: &Source<'_>, root: NodeId, index: usize, selector: &Selector) -> bool {
    let text = |path: &[&str]| {
        let node = path.iter().try_fold(root, |node, key| lookup(source, node, key).next())?;
        scalar_text(source, node)
    };
    let holds =
        |expect: &Option<String>, path: &[&str]| expect.as_deref().is_none_or(|value| text(path) == Some(value));
    selector.document.is_none_or(|document| document == index)
        && holds(&selector.kind, &["kind"])
        && holds(&selector.name, &["metadata", "name"])
        && holds(&selector.namespace, &["metadata", "namespace"])
        && holds(&selector.api_version, &["apiVersion"])
}

fn scalar_text<'s>(source: &'s Source<'_>, id: NodeId) -> Option<&'s str> {
    let node = source.node(id)?;
    matches!(node.kind, Kind::Scalar(_)).then(|| source.decoded(node))
}

/// The values that a mapping has for a key.
fn lookup(source: &Source<'_>, mapping: NodeId, key: &str) -> impl Iterator<Item = NodeId> {
    let is_mapping = source.node(mapping).is_some_and(|node| node.kind == Kind::Mapping);
    source
        .children(mapping)
        .filter(move |(id, node)| is_mapping && node.role == Role::Key && scalar_text(source, *id) == Some(key))
        .filter_map(|(id, _)| source.value_of(id).map(|(value, _)| value))
}

/// Follows the path from the root of a document; `None` if it leads to nothing.
fn walk(source: &Source<'_>, root: NodeId, path: &Path) -> Result<Option<Target>, Problem> {
    let mut id = root;
    for step in &path.0 {
        let Some(node) = source.node(id) else {
            return Ok(None);
        };
        let at = node.range.start;
        let candidates: Vec<NodeId> = match (step, node.kind) {
            (_, Kind::Alias) => return Err(Problem::new(Code::Alias, at)),
            (Step::Name(key) | Step::Key(key), Kind::Mapping) => lookup(source, id, key).take(2).collect(),
            (Step::Name(index), Kind::Sequence) => match index.parse() {
                Ok(index) => source.children(id).nth(index).map(|(item, _)| item).into_iter().collect(),
                Err(_) => return Ok(None),
            },
            (Step::Item { key, value }, Kind::Sequence) => source
                .children(id)
                .map(|(item, _)| item)
                .filter(|&item| lookup(source, item, key).any(|field| scalar_text(source, field) == Some(value)))
                .take(2)
                .collect(),
            _ => return Ok(None),
        };
        id = match (candidates.as_slice(), step) {
            ([], _) => return Ok(None),
            ([one], _) => *one,
            (_, Step::Item { .. }) => return Err(Problem::new(Code::Ambiguous, at)),
            (_, Step::Name(_) | Step::Key(_)) => return Err(Problem::new(Code::DuplicateKey, at)),
        };
    }
    let Some(node) = source.node(id) else {
        return Ok(None);
    };
    let at = node.range.start;
    match node.kind {
        Kind::Scalar(_) => Ok(Some(Target { node: id, insert: insert(source, id), at })),
        Kind::Alias => Err(Problem::new(Code::Alias, at)),
        Kind::Mapping | Kind::Sequence => Err(Problem::new(Code::NotScalar, at)),
    }
}

/// Where a missing value goes: behind the last colon or dash before its place.
fn insert(source: &Source<'_>, id: NodeId) -> usize {
    let Some(node) = source.node(id) else {
        return 0;
    };
    let at = node.range.start;
    let previous = source.token_before(at).map_or(0, |token| token.range.end);
    let mut indicators = Lexer::new(source.text, previous..source.text.len());
    let place = match node.role {
        Role::Item => {
            indicators.take_while(|(_, range)| range.start < at).filter(|(lexeme, _)| *lexeme == Lexeme::Dash).last()
        }
        _ => indicators.find(|(lexeme, _)| *lexeme == Lexeme::Colon),
    };
    place.map_or(at, |(_, range)| range.end)
}

#[cfg(test)]
mod tests;
