//! Which files are worth parsing.

use super::note::{Code, Problem};
use memchr::memmem::{self, Finder};

/// Line ends for YAML 1.1 readers, text for YAML 1.2 readers; a byte order mark inside the text divides them too.
const UNSUPPORTED: [char; 4] = ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'];

/// The text of a file that may hold a target; `None` when it certainly holds none.
pub(super) fn screen<'a>(
    content: &'a [u8],
    needle: Option<&Finder<'_>>,
    limit: usize,
) -> Result<Option<&'a str>, Problem> {
    if let Some(needle) = needle
        && needle.find(content).is_none()
        && !(is_utf16(content) && memmem::find(content, &spread(needle.needle())).is_some())
    {
        return Ok(None);
    }
    if content.len() > limit {
        let sizes = format!("{} bytes of at most {limit}", content.len());
        return Err(Problem::new(Code::TooLarge, 0).detail(sizes));
    }
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(error) => return Err(Problem::new(Code::Encoding, error.valid_up_to())),
    };
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    match body.char_indices().find(|(_, c)| UNSUPPORTED.contains(c)) {
        Some((at, c)) => {
            let at = at + (text.len() - body.len());
            Err(Problem::new(Code::UnsupportedChar, at).detail(format!("U+{:04X}", u32::from(c))))
        }
        None => Ok(Some(text)),
    }
}

/// UTF-16 shows in its first character: a byte order mark, or one that has a zero byte.
fn is_utf16(content: &[u8]) -> bool {
    matches!(content, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, _, ..] | [_, 0, ..])
}

/// ASCII text as it stands within UTF-16 of either byte order.
fn spread(ascii: &[u8]) -> Vec<u8> {
    let mut wide: Vec<u8> = ascii.iter().flat_map(|&byte| [byte, 0]).collect();
    wide.pop();
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screens() {
        let finder = Finder::new("\"$promotion\"");
        let check = |content: &[u8], expect: Result<bool, (Code, usize)>| {
            let screened = screen(content, Some(&finder), 100);
            let got = screened.map(|text| text.is_some()).map_err(|problem| (problem.code, problem.at));
            assert_eq!(got, expect, "{:?}", String::from_utf8_lossy(content));
        };
        let utf16 =
            |text: &str| [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let utf16: [Vec<u8>; 2] = [utf16("a: 1 # {\"$promotion\": \"x\"}"), utf16("a: 1")];

        check(b"a: 1", Ok(false));
        check(b"\xff\xff", Ok(false));
        check(&[b' '; 101], Ok(false));
        check(b"# \"$promotion\"", Ok(true));
        check("\u{feff}# \"$promotion\"".as_bytes(), Ok(true));
        check("# \"$promotion\" \u{feff}".as_bytes(), Err((Code::UnsupportedChar, 15)));
        check("\u{feff}\u{2028}# \"$promotion\"".as_bytes(), Err((Code::UnsupportedChar, 3)));
        check(b"# \"$promotion\" \xff", Err((Code::Encoding, 15)));
        check(&b"\"$promotion\"".repeat(10), Err((Code::TooLarge, 0)));
        check(&utf16[0], Err((Code::Encoding, 0)));
        check(&utf16[1], Ok(false));
    }
}
