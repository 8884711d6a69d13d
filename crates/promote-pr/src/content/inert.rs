//! Other people's text, made to mean nothing but itself. Pure.
//!
//! Revisions, names and manifests are other people's text. What a host would make of it behind our back (mentions,
//! links, references to issues, closing keywords, HTML, trailers) is broken by a space without width, which readers do
//! not see; what readers could not see is shown as its number.

use std::fmt::Write as _;

const BREAK: char = '\u{200b}';

/// The longest piece of other people's text, in characters.
const MAX_QUOTE: usize = 200;

/// For places without Markdown: on one line, never empty.
pub(super) fn quote(text: &str) -> String {
    let text = inert(&shorten(text, MAX_QUOTE));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { "(empty)".to_owned() } else { text }
}

/// For Markdown: a [code span](https://spec.commonmark.org/0.31.2/#code-spans). Backticks and vertical bars, which end
/// spans and [cells of tables](https://github.github.com/gfm/#example-200), show as characters that look like them.
pub(super) fn code(text: &str) -> String {
    let text = inert(&shorten(text, MAX_QUOTE));
    if text.trim().is_empty() {
        return "_empty_".to_owned();
    }
    let text: String = text
        .chars()
        .map(|c| match c {
            '`' => '\u{2cb}',
            '|' => '\u{2223}',
            c => c,
        })
        .collect();
    format!("`{text}`")
}

/// A URL inside Markdown.
pub(super) fn target(url: &str) -> String {
    percent_encode(url, "-._~:/?#@!$&'*+,;=%")
}

/// A part of a URL: its [unreserved characters](https://www.rfc-editor.org/rfc/rfc3986#section-2.3) stay, but for those
/// that make `www.` and `GH-1` a [link](https://github.github.com/gfm/#autolinks-extension-) or a reference.
pub(super) fn url_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for c in percent_encode(text, "-._~").chars() {
        match c {
            '.' if ends_with(&part, "www") => part.push_str("%2E"),
            '-' if ends_with(&part, "gh") => part.push_str("%2D"),
            c => part.push(c),
        }
    }
    part
}

fn percent_encode(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || kept.contains(c) {
            encoded.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// The text with a break wherever a host sees more than text: `@name`, `#1` and the other references of [GitHub] and
/// [GitLab], bare URLs and addresses, links of Markdown, HTML, and a trailer's key.
///
/// [GitHub]: https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls
/// [GitLab]: https://docs.gitlab.com/user/markdown/#gitlab-specific-references
fn inert(text: &str) -> String {
    let text = visible(text);
    let trailer = text.find(": ").filter(|end| {
        let key = text.get(..*end).unwrap_or_default();
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    });
    let mut inert = String::with_capacity(text.len());
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        let behind = rest.as_str();
        let next = behind.chars().next();
        let before = c == '.' && ends_with(&inert, "www");
        let after = match c {
            '<' => true,
            '@' => !inert.ends_with(|c: char| c.is_ascii_alphanumeric()) || next.is_none() || is_domain(behind),
            '#' | '!' | '$' | '%' | '&' | '~' => {
                next.is_none_or(|next| next.is_alphanumeric() || "\"#[".contains(next))
            }
            ']' => next.is_none_or(|next| "([:".contains(next)),
            ':' => next.is_none_or(|next| next == '/') || trailer == Some(at),
            '-' => ends_with(&inert, "gh") && next.is_none_or(|next| next.is_ascii_digit()),
            _ => false,
        };
        if before {
            inert.push(BREAK);
        }
        inert.push(c);
        if after {
            inert.push(BREAK);
        }
    }
    inert
}

/// Without regard to case.
fn ends_with(text: &str, end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    start.and_then(|start| text.get(start..)).is_some_and(|found| found.eq_ignore_ascii_case(end))
}

/// Whether what stands behind an `@` reads as the domain of a mail address.
fn is_domain(text: &str) -> bool {
    let end = text.find(|c: char| !(c.is_alphanumeric() || "-_.".contains(c))).unwrap_or(text.len());
    text.get(..end).is_some_and(|domain| domain.contains('.'))
}

/// Line breaks become spaces; other characters that cannot be seen, or that turn the direction of a text around, show
/// as their number.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => visible.push(' '),
            '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}' => visible.extend(c.escape_unicode()),
            c if c.is_control() => visible.extend(c.escape_unicode()),
            c => visible.push(c),
        }
    }
    visible
}

pub(super) fn length(text: &str) -> usize {
    text.chars().count()
}

/// At most `limit` characters, the last of them an ellipsis if any are left out.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    if length(text) <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests;
