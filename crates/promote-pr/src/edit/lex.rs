//! What stands between two tokens of a parsed YAML text.

use super::lines::MARK;
use std::ops::Range;

/// The kinds of text that the parser's events do not cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lexeme {
    /// `:`
    Colon,
    /// `-`
    Dash,
    /// `?`
    Question,
    /// `,`
    Comma,
    /// `|` or `>` with its indicators
    Header,
    /// `&anchor` or `!tag`
    Property,
    /// `---`, `...` or a directive
    Document,
    /// Anything else
    Other,
}

/// The lexemes of `text` in a range that holds no token; blanks, line breaks and comments are passed over.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, range: Range<usize>) -> Self {
        let text = text.as_bytes();
        let at = if range.start == 0 && text.starts_with(MARK) { MARK.len() } else { range.start };
        Self { text, at, end: range.end.min(text.len()) }
    }

    fn peek(&self) -> Option<u8> {
        if self.at < self.end { self.text.get(self.at).copied() } else { None }
    }

    fn skip_while(&mut self, holds: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&holds) {
            self.at += 1;
        }
    }

    fn at_line_start(&self) -> bool {
        match self.text.get(..self.at) {
            Some([.., before]) if is_break(*before) => true,
            before => before.is_some_and(|before| before.is_empty() || before == MARK),
        }
    }

    fn document_marker(&self) -> bool {
        let Some(rest) = self.text.get(self.at..) else {
            return false;
        };
        self.at_line_start()
            && (rest.starts_with(b"---") || rest.starts_with(b"..."))
            && rest.get(3).is_none_or(|&byte| is_blank(byte) || is_break(byte))
    }
}

impl Iterator for Lexer<'_> {
    type Item = (Lexeme, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.skip_while(|byte| is_blank(byte) || is_break(byte));
            if self.peek()? != b'#' {
                break;
            }
            self.skip_while(|byte| !is_break(byte));
        }
        let start = self.at;
        let first = self.peek()?;
        let lexeme = if self.document_marker() {
            self.at = (start + 3).min(self.end);
            Lexeme::Document
        } else {
            self.at += 1;
            match first {
                b':' => Lexeme::Colon,
                b'-' => Lexeme::Dash,
                b'?' => Lexeme::Question,
                b',' => Lexeme::Comma,
                b'|' | b'>' => {
                    self.skip_while(|byte| byte.is_ascii_digit() || byte == b'+' || byte == b'-');
                    Lexeme::Header
                }
                b'!' if self.peek() == Some(b'<') => {
                    self.skip_while(|byte| byte != b'>' && !is_break(byte));
                    self.skip_while(|byte| byte == b'>');
                    Lexeme::Property
                }
                b'!' | b'&' => {
                    self.skip_while(|byte| !is_blank(byte) && !is_break(byte) && byte != b',');
                    Lexeme::Property
                }
                b'%' => {
                    self.skip_while(|byte| byte != b'#' && !is_break(byte));
                    Lexeme::Document
                }
                _ => {
                    self.skip_while(|byte| byte & 0xC0 == 0x80);
                    Lexeme::Other
                }
            }
        };
        Some((lexeme, start..self.at))
    }
}

pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

pub(super) fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lexes() {
        let check = |text: &str, expect: &[(Lexeme, &str)]| {
            let got: Vec<_> =
                Lexer::new(text, 0..text.len()).map(|(lexeme, range)| (lexeme, text.get(range).unwrap())).collect();
            assert_eq!(got, expect, "{text:?}");
        };
        check("", &[]);
        check(" \t\r\n# - :\r\n", &[]);
        check(": ", &[(Lexeme::Colon, ":")]);
        check("\n- - # x", &[(Lexeme::Dash, "-"), (Lexeme::Dash, "-")]);
        check("---\n- ", &[(Lexeme::Document, "---"), (Lexeme::Dash, "-")]);
        check("%TAG ! x\n--- ", &[(Lexeme::Document, "%TAG ! x"), (Lexeme::Document, "---")]);
        check(": |2+ # |", &[(Lexeme::Colon, ":"), (Lexeme::Header, "|2+")]);
        check(": >-", &[(Lexeme::Colon, ":"), (Lexeme::Header, ">-")]);
        check(
            "&a !<tag:x,y> !e!z ",
            &[(Lexeme::Property, "&a"), (Lexeme::Property, "!<tag:x,y>"), (Lexeme::Property, "!e!z")],
        );
        check(",é?", &[(Lexeme::Comma, ","), (Lexeme::Other, "é"), (Lexeme::Question, "?")]);
        check("\u{feff}--- ", &[(Lexeme::Document, "---")]);
    }
}
