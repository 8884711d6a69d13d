//! A parsed file: its nodes with their bytes, in source order.

use super::lines::Lines;
use super::note::{Code, Problem};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StructureStyle};
use std::borrow::Cow;
use std::ops::Range;

/// A place in [`Source::nodes`].
pub(super) type NodeId = usize;

/// A scalar to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) node: NodeId,
    /// Where a value goes that is not there yet.
    pub(super) insert: usize,
    /// Where a note about the target points to.
    pub(super) at: usize,
}

/// What a target led to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) targets: Vec<Target>,
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) lines: Lines<'a>,
    /// Every event but comments.
    pub(super) events: Vec<Event<'a>>,
    /// Every node, each collection before its content.
    pub(super) nodes: Vec<Node>,
    /// The root node of each document.
    pub(super) documents: Vec<NodeId>,
    /// Scalars, aliases and the brackets of flow collections, by their first byte. Empty scalars are not among them.
    pub(super) tokens: Vec<Token>,
    /// Plain scalars without text, by their place.
    pub(super) empty: Vec<NodeId>,
    /// Block scalars, by the first byte of their text.
    pub(super) blocks: Vec<NodeId>,
    /// By their first byte.
    pub(super) comments: Vec<Comment<'a>>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) role: Role,
    /// The bytes of a scalar or alias without anchor and tag; those of a block scalar begin at its text. An empty plain
    /// scalar has no bytes.
    pub(super) range: Range<usize>,
    /// Whether the parent is a flow collection.
    pub(super) in_flow: bool,
    /// Whether there is an anchor or a tag.
    pub(super) has_properties: bool,
    /// The event in [`Source::events`].
    pub(super) event: usize,
    /// The first node after this one and its content.
    pub(super) next: NodeId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar(ScalarStyle),
    Alias,
    Sequence,
    Mapping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Root,
    Key,
    Value,
    Item,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) range: Range<usize>,
    /// `None` for the bracket that closes a flow collection.
    pub(super) node: Option<NodeId>,
}

#[derive(Debug)]
pub(super) struct Comment<'a> {
    /// From the `#` to the end of the line.
    pub(super) range: Range<usize>,
    /// The text after the `#`.
    pub(super) text: Cow<'a, str>,
}

impl Node {
    pub(super) fn is_empty(&self) -> bool {
        self.kind == Kind::Scalar(ScalarStyle::Plain) && self.range.is_empty()
    }
}

/// The events of a text with their bytes.
pub(super) fn events(text: &str, depth: usize) -> impl Iterator<Item = Result<(Event<'_>, Range<usize>), ScanError>> {
    let options = granit_parser::options! {
        flow_nesting_limit: depth,
        block_nesting_limit: depth,
        // The size of the file bounds them.
        max_buffered_comment_events: usize::MAX,
    };
    Parser::new_from_str_with_options(text, options)
        .map(|next| next.map(|(event, span)| (event, span.byte_range().unwrap_or_default())))
}

impl<'a> Source<'a> {
    pub(super) fn parse(text: &'a str, depth: usize) -> Result<Self, Problem> {
        let mut builder = Builder {
            source: Self {
                text,
                lines: Lines::of(text.as_bytes()),
                events: Vec::new(),
                nodes: Vec::new(),
                documents: Vec::new(),
                tokens: Vec::new(),
                empty: Vec::new(),
                blocks: Vec::new(),
                comments: Vec::new(),
            },
            open: Vec::new(),
        };
        for next in events(text, depth) {
            let (event, range) = next.map_err(|error| problem(&error))?;
            builder.add(event, range);
        }
        let mut source = builder.source;
        source.tokens.sort_by_key(|token| token.range.start);
        source.comments.sort_by_key(|comment| comment.range.start);
        Ok(source)
    }

    /// The text of a range, empty if it is none.
    pub(super) fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    /// What a reader sees of a scalar.
    pub(super) fn decoded(&self, node: &Node) -> &str {
        match self.events.get(node.event) {
            Some(Event::Scalar(text, ..)) if !node.is_empty() => text,
            _ => "",
        }
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The value that belongs to a key.
    pub(super) fn value_of(&self, key: NodeId) -> Option<(NodeId, &Node)> {
        let id = self.node(key)?.next;
        self.node(id).filter(|node| node.role == Role::Value).map(|node| (id, node))
    }

    /// The nodes directly inside a collection; keys and values of a mapping take turns.
    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &Node)> {
        let end = self.node(id).map_or(0, |node| node.next);
        let first = Some(id + 1).filter(|&child| child < end);
        std::iter::successors(first, move |&child| self.node(child).map(|node| node.next).filter(|&next| next < end))
            .filter_map(|child| self.node(child).map(|node| (child, node)))
    }

    /// The last token that begins before a byte.
    pub(super) fn token_before(&self, at: usize) -> Option<&Token> {
        let index = self.tokens.partition_point(|token| token.range.start < at);
        self.tokens.get(index.checked_sub(1)?)
    }

    /// The first token that begins at a byte or after it.
    pub(super) fn token_from(&self, at: usize) -> Option<&Token> {
        self.tokens.get(self.tokens.partition_point(|token| token.range.start < at))
    }
}

struct Builder<'a> {
    source: Source<'a>,
    open: Vec<Open>,
}

struct Open {
    node: NodeId,
    in_flow: bool,
    /// The role of the next child.
    role: Role,
}

impl<'a> Builder<'a> {
    fn add(&mut self, event: Event<'a>, range: Range<usize>) {
        match &event {
            Event::Comment(text, _) => {
                return self.source.comments.push(Comment { range, text: text.clone() });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                // At the end of a file, the parser counts the header of a block without text to its bytes.
                let blank = is_block && text.bytes().all(|byte| byte == b'\n');
                let range = if blank { range.end..range.end } else { range };
                let id = self.node(Kind::Scalar(*style), range.clone(), *anchor != 0 || tag.is_some());
                if is_block {
                    self.source.blocks.push(id);
                } else if range.is_empty() {
                    self.source.empty.push(id);
                }
                self.token(Some(id), range);
            }
            Event::Alias(_) => {
                let id = self.node(Kind::Alias, range.clone(), false);
                self.token(Some(id), range);
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.open(Kind::Sequence, *style, range, *anchor != 0 || tag.is_some());
            }
            Event::MappingStart(style, anchor, tag) => {
                self.open(Kind::Mapping, *style, range, *anchor != 0 || tag.is_some());
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let next = self.source.nodes.len();
                if let Some(closed) = self.open.pop()
                    && let Some(node) = self.source.nodes.get_mut(closed.node)
                {
                    node.next = next;
                }
                if matches!(self.source.slice(range.clone()), "]" | "}") {
                    self.token(None, range);
                }
            }
            _ => {}
        }
        self.source.events.push(event);
    }

    fn open(&mut self, kind: Kind, style: StructureStyle, range: Range<usize>, has_properties: bool) {
        let node = self.node(kind, range.clone(), has_properties);
        if matches!(self.source.slice(range.clone()), "[" | "{") {
            self.token(Some(node), range);
        }
        let role = if kind == Kind::Mapping { Role::Key } else { Role::Item };
        self.open.push(Open { node, in_flow: style == StructureStyle::Flow, role });
    }

    fn node(&mut self, kind: Kind, range: Range<usize>, has_properties: bool) -> NodeId {
        let id = self.source.nodes.len();
        let (role, in_flow) = match self.open.last_mut() {
            None => {
                self.source.documents.push(id);
                (Role::Root, false)
            }
            Some(open) => {
                let role = open.role;
                open.role = match role {
                    Role::Key => Role::Value,
                    Role::Value => Role::Key,
                    Role::Item | Role::Root => role,
                };
                (role, open.in_flow)
            }
        };
        let event = self.source.events.len();
        self.source.nodes.push(Node { kind, role, range, in_flow, has_properties, event, next: id + 1 });
        id
    }

    fn token(&mut self, node: Option<NodeId>, range: Range<usize>) {
        if !range.is_empty() {
            self.source.tokens.push(Token { range, node });
        }
    }
}

fn problem(error: &ScanError) -> Problem {
    let at = error.marker().byte_offset().unwrap_or_default();
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => Problem::new(Code::TooDeep, at),
        kind => Problem::new(Code::Parse, at).detail(kind.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes() {
        let check = |text: &str, expect: &[&str]| {
            let source = Source::parse(text, 20).unwrap();
            let show = |node: &Node| {
                let kind = match node.kind {
                    Kind::Scalar(_) => format!("{:?} {:?}", source.slice(node.range.clone()), source.decoded(node)),
                    kind => format!("{kind:?}"),
                };
                format!("{:?} {kind}{}", node.role, if node.in_flow { " in flow" } else { "" })
            };
            assert_eq!(source.nodes.iter().map(show).collect::<Vec<_>>(), expect, "{text:?}");
        };
        check("v", &[r#"Root "v" "v""#]);
        check("k: 'v' # c", &["Root Mapping", r#"Key "k" "k""#, r#"Value "'v'" "v""#]);
        check("- &a é\n- *a", &["Root Sequence", r#"Item "é" "é""#, "Item Alias"]);
        check("k:", &["Root Mapping", r#"Key "k" "k""#, r#"Value "" """#]);
        check(
            "[k: v]",
            &["Root Sequence", "Item Mapping in flow", r#"Key "k" "k" in flow"#, r#"Value "v" "v" in flow"#],
        );
        check("k: |\n  v\n", &["Root Mapping", r#"Key "k" "k""#, r#"Value "v\n" "v\n""#]);
        check("k: |\n", &["Root Mapping", r#"Key "k" "k""#, r#"Value "" """#]);
    }

    #[test]
    fn children() {
        let source = Source::parse("a: [x, {b: c}]\nd: e", 20).unwrap();
        let children = |id| source.children(id).map(|(child, _)| child).collect::<Vec<_>>();
        assert_eq!(children(0), [1, 2, 7, 8]);
        assert_eq!(children(2), [3, 4]);
        assert!(children(1).is_empty());
        assert_eq!(source.value_of(1).map(|(id, _)| id), Some(2));
        assert_eq!(source.value_of(2).map(|(id, _)| id), None);
    }

    #[test]
    fn errors() {
        let check = |text: &str, expect: (Code, usize)| {
            let problem = Source::parse(text, 3).unwrap_err();
            assert_eq!((problem.code, problem.at), expect, "{text:?}");
        };
        check("a: [1\n", (Code::Parse, 3));
        check("a: 1\nb: *c\n", (Code::Parse, 8));
        check("[[[[1]]]]", (Code::TooDeep, 3));
        check("a:\n b:\n  c:\n   d:", (Code::TooDeep, 15));
        assert!(Source::parse("[[[1]]]", 3).is_ok());
    }
}
