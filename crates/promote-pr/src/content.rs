//! The words of commits, pull requests and comments. Pure.
//!
//! Revisions, names and manifests are other people's text: it is shown as code, or as plain text in which nothing
//! mentions anybody, links anything or closes an issue.

mod template;

use std::fmt::Write as _;

use uuid::Uuid;

use crate::host::{Capabilities, PullRequest};
use crate::request::{FileChange, Request};

pub use self::template::{InvalidTemplate, MessageTemplate};

/// Names the promotion in a [trailer](https://git-scm.com/docs/git-interpret-trailers) of the commit, and in the last
/// line of the pull request's body.
const TRAILER: &str = "Promotion-Id";

/// Most changes that a text lists; the pull request's diff has them all.
const MAX_ROWS: usize = 50;

/// The longest piece of other people's text, in characters.
const MAX_QUOTE: usize = 200;

/// The pull request's title, and the commit's subject.
pub(crate) fn title(request: &Request, limit: usize) -> String {
    let key = &request.key;
    shorten(
        &plain(&format!("Promote {}/{} to {} in {}", key.namespace, key.pipeline, key.revision, key.environment)),
        limit,
    )
}

/// The commit's message.
pub(crate) fn commit_message(request: &Request, changes: &[FileChange], template: Option<&MessageTemplate>) -> String {
    const SUBJECT: usize = 120;
    let title = title(request, SUBJECT);
    let changes = list(changes);
    let message = match template {
        Some(template) => template.render(|name| {
            let key = &request.key;
            match name {
                template::Name::Title => title.clone(),
                template::Name::Changes => changes.trim_end().to_owned(),
                template::Name::Namespace => quote(&key.namespace),
                template::Name::Pipeline => quote(&key.pipeline),
                template::Name::Environment => quote(&key.environment),
                template::Name::Revision => quote(&key.revision),
            }
        }),
        None => format!("{title}\n\n{changes}"),
    };
    template::with_trailer(&message, &trailer(request.key.id()))
}

/// The changes, one a line.
fn list(changes: &[FileChange]) -> String {
    let mut list = String::new();
    for change in changes.iter().take(MAX_ROWS) {
        let [path, old, new] = [&change.path, &change.old, &change.new].map(|text| quote(text));
        let _ = writeln!(list, "- {path}:{}: {old} -> {new}", change.line);
    }
    if let Some(more) = more(changes) {
        let _ = writeln!(list, "- {more}");
    }
    list
}

/// The pull request's text, in Markdown.
pub(crate) fn body(request: &Request, changes: &[FileChange], capabilities: Capabilities) -> String {
    let key = &request.key;
    let pipeline = code(&format!("{}/{}", key.namespace, key.pipeline));
    let from = request.source_environment.as_ref().map(|from| format!(" from {}", code(from))).unwrap_or_default();
    let to = code(&key.environment);
    let mut body = format!("Promotes {pipeline}{from} to {to} at revision {}.\n", code(&key.revision));
    if let Some(link) = &request.pipeline_link {
        let _ = write!(body, "\n[The pipeline]({})\n", target(link.as_str()));
    }
    let end = format!("\n{}\n", trailer(key.id()));
    let mut table = "\n| File | Line | Old | New |\n| --- | ---: | --- | --- |\n".to_owned();
    let mut rows = 0;
    for change in changes.iter().take(MAX_ROWS) {
        let [path, old, new] = [&change.path, &change.old, &change.new].map(|text| cell(text));
        let row = format!("| {path} | {} | {old} | {new} |\n", change.line);
        // A line of room for what is left out.
        if length(&body) + length(&table) + length(&row) + length(&end) + 80 > capabilities.body {
            break;
        }
        table.push_str(&row);
        rows += 1;
    }
    if rows > 0 {
        body.push_str(&table);
    }
    if rows < changes.len() {
        let _ = write!(body, "\n… and {} more changes, all of them in the diff.\n", changes.len() - rows);
    }
    body + &end
}

/// What is said on a pull request that gives way to another.
pub(crate) fn superseded_by(request: &Request, by: &PullRequest) -> String {
    let revision = code(&request.key.revision);
    format!("Superseded by #{} ({}), which promotes revision {revision}.", by.number, target(&by.url))
}

/// What is said on a pull request when the base branch holds a newer revision already.
pub(crate) fn superseded_on_base(request: &Request) -> String {
    let revision = code(&request.key.revision);
    format!("Superseded: branch {} holds revision {revision} already.", code(request.base.as_str()))
}

/// What is said on a pull request that is withdrawn.
pub(crate) fn withdrawn(reason: &str) -> String {
    format!("Closed: {}", code(reason))
}

/// Whether a commit's message or a pull request's body is that of this promotion.
pub(crate) fn is_of(text: &str, id: Uuid) -> bool {
    let trailer = trailer(id);
    text.lines().any(|line| line.trim() == trailer)
}

/// Whether a commit's message or a pull request's body is that of any promotion.
pub(crate) fn is_of_some_promotion(text: &str) -> bool {
    let id = |line: &str| line.trim().strip_prefix(TRAILER)?.strip_prefix(": ")?.parse::<Uuid>().ok();
    text.lines().any(|line| id(line).is_some())
}

fn trailer(id: Uuid) -> String {
    format!("{TRAILER}: {id}")
}

/// What is said instead of the changes that are left out.
fn more(changes: &[FileChange]) -> Option<String> {
    let more = changes.len().checked_sub(MAX_ROWS).filter(|more| *more > 0)?;
    Some(format!("and {more} more changes"))
}

/// Other people's text in a table, whose cells end at every pipe that is not
/// [escaped](https://github.github.com/gfm/#example-200), in code as well.
fn cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

/// Other people's text as a code span, [delimited by more backticks than it holds](https://github.github.com/gfm/#code-spans).
fn code(text: &str) -> String {
    let text = visible(&shorten(text, MAX_QUOTE));
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    match text.trim() {
        "" => "_empty_".to_owned(),
        _ if longest > 0 => format!("{fence} {text} {fence}"),
        _ => format!("{fence}{text}{fence}"),
    }
}

/// Other people's text where there is no Markdown: a zero-width space keeps `@name`, `#1` and `!1` from becoming links,
/// and keywords like `fixes` from closing anything.
fn plain(text: &str) -> String {
    const ZERO_WIDTH_SPACE: char = '\u{200b}';
    let mut plain = String::with_capacity(text.len());
    let mut before = ' ';
    let text = visible(text);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        plain.push(c);
        let next = chars.peek().copied().unwrap_or(' ');
        let mentions = c == '@' && !before.is_ascii_alphanumeric() && next.is_ascii_alphanumeric();
        let refers = (c == '#' || c == '!') && next.is_ascii_digit();
        if mentions || refers {
            plain.push(ZERO_WIDTH_SPACE);
        }
        before = c;
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Other people's text within a plain text.
fn quote(text: &str) -> String {
    match plain(&shorten(text, MAX_QUOTE)) {
        text if text.is_empty() => "(empty)".to_owned(),
        text => text,
    }
}

/// Line breaks become spaces; other characters that cannot be seen, or that turn the direction of a text around, show
/// as their number.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => visible.push(' '),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                visible.extend(c.escape_unicode());
            }
            c if c.is_control() => visible.extend(c.escape_unicode()),
            c => visible.push(c),
        }
    }
    visible
}

/// A URL inside Markdown.
fn target(url: &str) -> String {
    let mut target = String::with_capacity(url.len());
    for c in url.chars() {
        if c.is_ascii_alphanumeric() || "-._~:/?#@!$&'*+,;=%".contains(c) {
            target.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(target, "%{byte:02X}");
            }
        }
    }
    target
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// At most `limit` characters, the last of them an ellipsis if any are left out.
fn shorten(text: &str, limit: usize) -> String {
    if length(text) <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests;
