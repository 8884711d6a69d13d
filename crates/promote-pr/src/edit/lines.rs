//! Byte offsets to lines and columns.

use memchr::memchr2_iter;

/// UTF-8's byte order mark.
pub(super) const MARK: &[u8] = "\u{feff}".as_bytes();

/// Where each line of a file begins. A line ends with LF, CRLF or CR.
#[derive(Debug, Default)]
pub(super) struct Lines<'a> {
    content: &'a [u8],
    /// Beginnings of the second and all later lines.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(content: &'a [u8]) -> Self {
        let starts = memchr2_iter(b'\r', b'\n', content)
            .filter(|&at| !content.get(at..).is_some_and(|rest| rest.starts_with(b"\r\n")))
            .map(|at| at + 1)
            .collect();
        Self { content, starts }
    }

    /// The line of a byte, from 0.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start <= at)
    }

    /// The first byte of a line, behind a byte order mark; the end of the file for lines after the last.
    pub(super) fn start(&self, line: usize) -> usize {
        match line.checked_sub(1) {
            None if self.content.starts_with(MARK) => MARK.len(),
            None => 0,
            Some(index) => self.starts.get(index).copied().unwrap_or(self.content.len()),
        }
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line(at);
        let before = self.content.get(self.start(line)..at).unwrap_or_default();
        // Bytes that begin a character: all but UTF-8's continuation bytes.
        let characters = before.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        (line + 1, characters + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let check = |content: &str, at: usize, expect: (usize, usize)| {
            assert_eq!(Lines::of(content.as_bytes()).position(at), expect, "{content:?} at {at}");
        };
        check("", 0, (1, 1));
        check("a\nb", 2, (2, 1));
        check("a\r\nbc", 4, (2, 2));
        check("a\rb\r", 2, (2, 1));
        check("é: x", 4, (1, 4));
        check("\u{feff}a", 3, (1, 1));
        check("a\n", 2, (2, 1));
    }
}
