//! Which values may stand without quotes.
//!
//! A value is a string. Without quotes it must stay one for every reader: the types of [YAML 1.1], those of
//! [YAML 1.2's core schema], and what go-yaml (Kubernetes, Flux, Helm) and PyYAML make of them.
//!
//! [YAML 1.1]: https://yaml.org/type/
//! [YAML 1.2's core schema]: https://yaml.org/spec/1.2.2/#103-core-schema

/// Whether a value written as a plain scalar is read as that very string.
pub(super) fn fits(value: &str, in_flow: bool) -> bool {
    reads_as_string(value)
        && !value.starts_with(INDICATORS)
        && !value.starts_with("...")
        && !value.starts_with(char::is_whitespace)
        && !value.ends_with(char::is_whitespace)
        && !value.ends_with(':')
        && !value.contains(": ")
        && !value.contains(" #")
        && !value.chars().any(|c| c == '\t' || needs_escape(c))
        && !(in_flow && value.contains([',', '[', ']', '{', '}', '?']))
}

/// Characters that begin something other than a plain scalar, here or in some position.
const INDICATORS: [char; 19] =
    ['-', '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`'];

/// Characters that are not printable in YAML, or that show as nothing or turn the text around them.
pub(super) fn needs_escape(c: char) -> bool {
    matches!(c,
        '\0'..='\x08' | '\x0a'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Whether no reader takes the plain text for null, a boolean, a number, a date or a merge key.
pub(super) fn reads_as_string(text: &str) -> bool {
    const WORDS: [&str; 14] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<", "."];
    if WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return false;
    }
    // Numbers may hold underscores anywhere for some reader.
    let digits: String = text.chars().filter(|&c| c != '_').collect();
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    !(is_integer(unsigned) || is_float(unsigned) || is_sexagesimal(unsigned) || is_date(text))
}

fn all(text: &str, holds: impl Fn(&u8) -> bool) -> bool {
    !text.is_empty() && text.as_bytes().iter().all(holds)
}

fn is_integer(text: &str) -> bool {
    // go-yaml takes a sign behind the prefix, too.
    let radix = |prefix: [&str; 2], holds: fn(&u8) -> bool| {
        let rest = prefix.iter().find_map(|prefix| text.strip_prefix(prefix));
        let rest = rest.map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
        rest.is_some_and(|rest| rest.is_empty() || all(rest, holds))
    };
    all(text, u8::is_ascii_digit)
        || radix(["0x", "0X"], u8::is_ascii_hexdigit)
        || radix(["0o", "0O"], u8::is_ascii_digit)
        || radix(["0b", "0B"], u8::is_ascii_digit)
}

/// `1.5`, `5.`, `.5`, `1e3`, `.inf`, `.nan`
fn is_float(text: &str) -> bool {
    if text.eq_ignore_ascii_case(".inf") || text.eq_ignore_ascii_case(".nan") || text == "." {
        return true;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (text, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    !(whole.is_empty() && fraction.is_empty()) && digits(whole) && digits(fraction) && digits(exponent)
}

/// `12:30`, `1:30:00.5`
fn is_sexagesimal(text: &str) -> bool {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.contains(':')
        && whole.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.')
}

/// `2026-01-01`, alone or with a time behind it
fn is_date(text: &str) -> bool {
    let day = text.split(['T', 't', ' ', '\t']).next().unwrap_or_default();
    let mut parts = day.split('-');
    let mut part = |least: usize, most: usize| {
        parts.next().is_some_and(|part| (least..=most).contains(&part.len()) && all(part, u8::is_ascii_digit))
    };
    part(4, 4) && part(1, 2) && part(1, 2) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_fit() {
        for value in [
            "6.3.0",
            "v1.10",
            "1.2.3-rc.1",
            "6.3.0+abcdef012345",
            "main@sha1:abc",
            "sha256:abc",
            "x:1",
            "it's",
            "a\"b",
            "a\\b",
            "a#b",
            "a,b",
            "a?b",
            "nullx",
            "yess",
            "0xg",
            "0123abc",
            "1e",
            "e3",
            "1.2e",
            "10.0.0.1",
            "2026-01-01-rc",
            "2026.01.01",
            "12-30",
            "é",
            "日本",
            "latest",
            "_",
            "a_b",
            "1_a",
            "<",
            "=a",
            "+a",
            "https://x.y/z",
        ] {
            let numeric = matches!(value, "1e" | "1.2e");
            assert_eq!(fits(value, false), !numeric, "{value:?}");
        }
    }

    #[test]
    fn values_that_do_not_fit() {
        for value in [
            "",
            "~",
            "null",
            "Null",
            "TRUE",
            "yes",
            "No",
            "on",
            "OFF",
            "y",
            "N",
            "=",
            "<<",
            "0",
            "-1",
            "+1",
            "007",
            "0123456",
            "1_000",
            "+_4",
            "_1",
            "0x1F",
            "0X1f",
            "0x_1",
            "0o17",
            "0b101",
            "0o+1",
            "0_b+1",
            "1.5",
            "5.",
            ".5",
            "+.5",
            "1e3",
            "12345e6",
            "1E-3",
            "1_0.5_0",
            ".inf",
            "-.INF",
            ".NaN",
            ".",
            "._",
            "12:30",
            "1:30:00",
            "190:20:30.15",
            "2026-01-01",
            "2026-1-1",
            "2026-01-01T10:00:00Z",
            "2026-01-01 10:00:00",
            "- x",
            "-x",
            "? x",
            ":x",
            ",x",
            "[x",
            "]x",
            "{x",
            "}x",
            "#x",
            "&x",
            "*x",
            "!x",
            "|x",
            ">x",
            "'x",
            "\"x",
            "%x",
            "@x",
            "`x",
            "---",
            "...",
            " x",
            "x ",
            "x:",
            "a: b",
            "a #b",
            "a\tb",
            "a\nb",
            "a\rb",
            "a\0b",
            "a\x7fb",
            "a\u{85}b",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{feff}b",
        ] {
            assert!(!fits(value, false), "{value:?}");
        }
        for value in ["a,b", "a[b", "a]b", "a{b", "a}b", "a?b"] {
            assert!(fits(value, false) && !fits(value, true), "{value:?}");
        }
    }
}
