//! The proof that nothing but the targets changed.

use super::index::{Source, events};
use super::plain;
use super::splice::Splice;
use granit_parser::{Event, ScalarStyle};

/// Whether the new text parses to the same events and comments as the source, but for the spliced scalars, which keep
/// their anchors and tags and hold their value as a string.
pub(super) fn verify(source: &Source<'_>, splices: &[Splice<'_>], content: &str, depth: usize) -> bool {
    let mut comments = Vec::new();
    let mut old_events = source.events.iter().enumerate();
    let event_of = |splice: &Splice<'_>| source.node(splice.node).map(|node| node.event);
    let mut targets = splices.iter().peekable();
    for next in events(content, depth) {
        let Ok((event, range)) = next else {
            return false;
        };
        if let Event::Comment(text, _) = event {
            comments.push((range.start, text));
            continue;
        }
        let Some((index, old)) = old_events.next() else {
            return false;
        };
        let same = match targets.next_if(|splice| event_of(splice) == Some(index)) {
            Some(splice) => holds(&event, old, splice.value),
            None => event == *old,
        };
        if !same {
            return false;
        }
    }
    comments.sort_by_key(|(start, _)| *start);
    old_events.next().is_none()
        && targets.next().is_none()
        && comments.iter().map(|(_, text)| text).eq(source.comments.iter().map(|comment| &comment.text))
}

fn holds(new: &Event<'_>, old: &Event<'_>, value: &str) -> bool {
    let (Event::Scalar(text, style, anchor, tag), Event::Scalar(_, _, old_anchor, old_tag)) = (new, old) else {
        return false;
    };
    let holds_value = match style {
        ScalarStyle::Literal | ScalarStyle::Folded => text.trim_end_matches('\n') == value,
        ScalarStyle::Plain => text == value && plain::reads_as_string(text),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => text == value,
    };
    holds_value && anchor == old_anchor && tag == old_tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifies() {
        let check = |before: &str, after: &str, expect: bool| {
            let source = Source::parse(before, 20).unwrap();
            let splice = Splice { node: 2, range: 0..0, text: String::new(), value: "v" };
            assert_eq!(verify(&source, &[splice], after, 20), expect, "{before:?} -> {after:?}");
        };
        check("a: x", "a: v", true);
        check("a: x # c", "a: \"v\" # c", true);
        check("a: x # c", "a: v # d", false);
        check("a: x # c", "a: v", false);
        check("a: x", "a: w", false);
        check("a: x", "b: v", false);
        check("a: x\nb: y", "a: v", false);
        check("a: x", "a: v\nb: y", false);
        check("a: x", "a: v\n---\n", false);
        check("a: &k x\nb: *k", "a: &k v\nb: *k", true);
        check("a: &k x", "a: v", false);
        check("a: !t x", "a: v", false);
        check("a: x", "a: {v: v}", false);
        check("a: x", "a: [", false);
        check("a: | # c\n  x\n# d\n", "a: \"v\" # c\n# d\n", true);
        check("a: |\n  x\n", "a: |\n  v\n", true);
    }

    #[test]
    fn plain_text_must_be_a_string() {
        let source = Source::parse("a: x", 20).unwrap();
        let splice = Splice { node: 2, range: 0..0, text: String::new(), value: "1.10" };
        assert!(!verify(&source, std::slice::from_ref(&splice), "a: 1.10", 20));
        assert!(verify(&source, &[splice], "a: '1.10'", 20));
    }
}
