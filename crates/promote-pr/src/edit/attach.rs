//! Which scalar a marker comment belongs to.

use super::index::{Comment, Found, Kind, Node, NodeId, Role, Source, Target};
use super::lex::{Lexeme, Lexer, is_blank};
use super::note::{Code, Problem};
use memchr::memmem;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What the text of every marker contains.
pub(super) const KEY: &str = "\"$promotion\"";

/// A comment that is, or is meant to be, a marker.
#[derive(Debug)]
pub(super) struct Marker {
    /// The first byte of the comment.
    pub(super) at: usize,
    /// What it names; `None` if it is malformed.
    pub(super) name: Option<String>,
    /// What it belongs to, or why it belongs to nothing.
    pub(super) place: Result<Target, &'static str>,
    /// Whether it stands on a line of its own.
    is_above: bool,
}

/// All markers of a file, in source order.
pub(super) fn markers(source: &Source<'_>) -> Vec<Marker> {
    let mut markers: Vec<Marker> = source
        .comments
        .iter()
        .enumerate()
        .filter(|(_, comment)| memmem::find(comment.text.as_bytes(), KEY.as_bytes()).is_some())
        .map(|(index, comment)| {
            let at = comment.range.start;
            let is_above = is_own_line(source, comment);
            let place = if is_above { below(source, index, comment) } else { beside(source, comment) };
            let place = place.map(|(node, insert)| Target { node, insert, at });
            Marker { at, name: name(&comment.text), place, is_above }
        })
        .collect();

    let beside = markers.iter().filter(|marker| !marker.is_above);
    let mut names_beside = BTreeMap::<NodeId, BTreeSet<String>>::new();
    for (name, target) in beside.filter_map(|marker| marker.name.clone().zip(marker.place.as_ref().ok())) {
        names_beside.entry(target.node).or_default().insert(name);
    }
    for marker in markers.iter_mut().filter(|marker| marker.is_above) {
        let names = marker.place.as_ref().ok().and_then(|target| names_beside.get(&target.node));
        if let (Some(names), Some(name)) = (names, &marker.name)
            && !names.contains(name)
        {
            marker.place = Err("the scalar below has a marker of another name on its own line");
        }
    }
    markers
}

/// The scalars whose marker names `name`, in source order.
pub(super) fn attach(markers: &[Marker], name: &str) -> Found {
    let mut found = Found::default();
    let mut targets = BTreeMap::new();
    let named = |marker: &&Marker| marker.name.as_deref().is_none_or(|other| other == name);
    for marker in markers.iter().filter(named) {
        match (&marker.name, &marker.place) {
            (None, _) => found.problems.push(Problem::new(Code::MalformedMarker, marker.at)),
            (Some(_), Ok(target)) => drop(targets.entry(target.node).or_insert(*target)),
            (Some(_), Err(reason)) => {
                found.problems.push(Problem::new(Code::OrphanMarker, marker.at).detail(*reason));
            }
        }
    }
    found.targets = targets.into_values().collect();
    found
}

/// The name in a comment that is exactly one JSON object with a string under `$promotion`.
fn name(comment: &str) -> Option<String> {
    let json = comment.trim_start_matches('#');
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    match object.get("$promotion")? {
        serde_json::Value::String(name) => Some(name.clone()),
        _ => None,
    }
}

fn is_own_line(source: &Source<'_>, comment: &Comment<'_>) -> bool {
    let start = source.lines.start(source.lines.line(comment.range.start));
    source.slice(start..comment.range.start).bytes().all(is_blank)
}

/// A node, and where its value goes if it has none; or why a marker has no node.
type Place = Result<(NodeId, usize), &'static str>;

const COLLECTION: &str = "a mapping, sequence or alias follows; write it behind the value itself";
const ALIAS: &str = "the value is an alias; write it where the anchor is";
const BESIDE_COLLECTION: &str =
    "it stands behind a flow collection; write the value on a line of its own, the marker behind it";
const KEY_IS_NO_SCALAR: &str = "it stands behind the colon of a key that is no scalar; write it behind the value";
const NO_VALUE: &str = "no value stands before it; write it behind the value";
const NOT_ABOVE: &str = "it must stand behind the value, or directly above the value's key and in the same column";
const NOT_ALONE: &str = "another comment stands above or below it; write it behind the value";

/// The node of a comment that has YAML before it on its line. What decides is the text between the last token and the
/// comment.
fn beside(source: &Source<'_>, comment: &Comment<'_>) -> Place {
    let at = comment.range.start;
    let line_start = source.lines.start(source.lines.line(at));
    let previous = source.token_before(at);
    let on_line = previous.filter(|token| token.range.end > line_start);
    let from = on_line.map_or(line_start, |token| token.range.end);

    let mut last = None;
    let mut count = 0;
    let mut ends_in_property = false;
    let mut insert = from;
    for (lexeme, range) in Lexer::new(source.text, from..at) {
        insert = range.end;
        count += 1;
        ends_in_property = lexeme == Lexeme::Property;
        if !ends_in_property {
            last = Some((lexeme, range.start));
        }
    }
    match last {
        Some((Lexeme::Header, _)) => {
            let first = source.blocks.partition_point(|&id| source.node(id).is_some_and(|node| node.range.start < at));
            scalar(source, source.blocks.get(first).copied(), insert)
        }
        Some((Lexeme::Colon, colon)) => {
            let key = previous.filter(|key| colon == first_indicator(source, key.range.end..at));
            value_of(source, key.and_then(|token| token.node).ok_or(KEY_IS_NO_SCALAR)?, insert)
        }
        Some((Lexeme::Dash, dash)) => {
            let token = source.token_from(at).map_or(source.text.len(), |token| token.range.start);
            let next = Lexer::new(source.text, comment.range.end..token).next().map_or(token, |(_, range)| range.start);
            match empty_item(source, dash, next) {
                Some(id) => Ok((id, insert)),
                None => following(source, comment, insert),
            }
        }
        None | Some((Lexeme::Comma, _)) if ends_in_property => match empty_item(source, from, at) {
            Some(id) => Ok((id, insert)),
            None => following(source, comment, insert),
        },
        None => scalar(source, on_line.and_then(|token| token.node), insert),
        Some((Lexeme::Comma, _)) if count == 1 => scalar(source, on_line.and_then(|token| token.node), insert),
        Some(_) => Err(NO_VALUE),
    }
}

/// Where the first lexeme stands that is no anchor or tag.
fn first_indicator(source: &Source<'_>, range: Range<usize>) -> usize {
    let mut lexemes = Lexer::new(source.text, range.clone());
    lexemes.find(|(lexeme, _)| *lexeme != Lexeme::Property).map_or(range.end, |(_, found)| found.start)
}

/// The value of a key.
fn value_of(source: &Source<'_>, key: NodeId, insert: usize) -> Place {
    let is_key = |node: &Node| node.role == Role::Key && matches!(node.kind, Kind::Scalar(_) | Kind::Alias);
    if !source.node(key).is_some_and(is_key) {
        return Err(KEY_IS_NO_SCALAR);
    }
    match source.value_of(key) {
        Some((id, Node { kind: Kind::Scalar(_), .. })) => Ok((id, insert)),
        Some((_, Node { kind: Kind::Alias, .. })) => Err(ALIAS),
        _ => Err(COLLECTION),
    }
}

/// The scalar that a comment stands directly behind.
fn scalar(source: &Source<'_>, id: Option<NodeId>, insert: usize) -> Place {
    let Some((id, node)) = id.and_then(|id| Some((id, source.node(id)?))) else {
        return Err(BESIDE_COLLECTION);
    };
    match (node.kind, node.role) {
        (Kind::Scalar(_), Role::Key) => Err(NO_VALUE),
        (Kind::Scalar(_), _) => Ok((id, insert)),
        (Kind::Alias, _) => Err(ALIAS),
        (Kind::Mapping | Kind::Sequence, _) => Err(BESIDE_COLLECTION),
    }
}

/// The scalar on a later line, with nothing but comments, anchor, tag and block header in between.
fn following(source: &Source<'_>, comment: &Comment<'_>, insert: usize) -> Place {
    let Some(token) = source.token_from(comment.range.end) else {
        return Err(NO_VALUE);
    };
    let mut between = Lexer::new(source.text, comment.range.end..token.range.start);
    if !between.all(|(lexeme, _)| matches!(lexeme, Lexeme::Property | Lexeme::Header)) {
        return Err(COLLECTION);
    }
    scalar(source, token.node, insert).or(Err(COLLECTION))
}

/// The item without a value that stands after a byte, at another one at the latest.
fn empty_item(source: &Source<'_>, after: usize, until: usize) -> Option<NodeId> {
    let first = source.empty.partition_point(|&id| source.node(id).is_some_and(|node| node.range.start <= after));
    let id = *source.empty.get(first)?;
    let node = source.node(id)?;
    (node.role == Role::Item && node.range.start <= until).then_some(id)
}

/// The node of a comment with a line of its own: it must be the only such line, and the next one must hold a key with a
/// scalar, or an item that is one, in the same column.
fn below(source: &Source<'_>, index: usize, comment: &Comment<'_>) -> Place {
    let line = source.lines.line(comment.range.start);
    let neighbour = |index: Option<usize>, line: Option<usize>| {
        index
            .and_then(|index| source.comments.get(index))
            .is_some_and(|other| Some(source.lines.line(other.range.start)) == line && is_own_line(source, other))
    };
    if neighbour(index.checked_sub(1), line.checked_sub(1)) || neighbour(index.checked_add(1), line.checked_add(1)) {
        return Err(NOT_ALONE);
    }
    let column = comment.range.start - source.lines.start(line);
    let start = source.lines.start(line + 1) + column;
    if !source.slice(source.lines.start(line + 1)..start).bytes().all(is_blank) {
        return Err(NOT_ABOVE);
    }
    let Some(token) = source.token_from(start) else {
        return Err(NOT_ABOVE);
    };
    let id = token.node.ok_or(NOT_ABOVE)?;
    let node = source.node(id).ok_or(NOT_ABOVE)?;
    if token.range.start == start {
        let colon = Lexer::new(source.text, token.range.end..source.text.len()).next();
        let insert = colon.map_or(token.range.end, |(_, range)| range.end);
        return if node.role == Role::Key { value_of(source, id, insert) } else { Err(NOT_ABOVE) };
    }
    let mut between = Lexer::new(source.text, start..token.range.start);
    match between.next() {
        Some((Lexeme::Dash, dash)) if dash.start == start => {}
        _ => return Err(NOT_ABOVE),
    }
    let is_item = node.role == Role::Item && matches!(node.kind, Kind::Scalar(_));
    if is_item && between.all(|(lexeme, _)| matches!(lexeme, Lexeme::Property | Lexeme::Header)) {
        return Ok((id, token.range.start));
    }
    Err(COLLECTION)
}

#[cfg(test)]
mod tests;
