//! The new bytes of a file.

use super::Change;
use super::index::{NodeId, Source};
use std::ops::Range;

/// The new text for a range of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Splice<'v> {
    pub(super) node: NodeId,
    pub(super) range: Range<usize>,
    pub(super) text: String,
    /// What the text stands for.
    pub(super) value: &'v str,
}

impl Splice<'_> {
    pub(super) fn change(&self, source: &Source<'_>) -> Change {
        let old = source.node(self.node).map_or("", |node| source.decoded(node));
        let (line, column) = source.lines.position(self.range.start);
        Change { line, column, old: old.to_owned(), new: self.value.to_owned() }
    }
}

/// Puts the splices, which are in source order and do not overlap, into the text.
pub(super) fn splice(text: &str, splices: &[Splice<'_>]) -> String {
    let grown: usize = splices.iter().map(|splice| splice.text.len()).sum();
    let mut out = String::with_capacity(text.len() + grown);
    let mut from = 0;
    for Splice { range, text: new, .. } in splices {
        out.push_str(text.get(from..range.start).unwrap_or_default());
        out.push_str(new);
        from = range.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splices() {
        let check = |text: &str, splices: &[(Range<usize>, &str)], expect: &str| {
            let splices: Vec<_> = splices
                .iter()
                .map(|(range, text)| Splice { node: 0, range: range.clone(), text: (*text).to_owned(), value: "" })
                .collect();
            assert_eq!(splice(text, &splices), expect);
        };
        check("abc", &[], "abc");
        check("abc", &[(1..2, "xyz")], "axyzc");
        check("abc", &[(0..0, "-"), (3..3, "+")], "-abc+");
        check("a: 1\nb: 2\n", &[(3..4, "10"), (8..9, "")], "a: 10\nb: \n");
    }
}
