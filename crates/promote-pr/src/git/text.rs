//! Text that came from a server, made fit to be shown.

use secrecy::{ExposeSecret as _, SecretString};

/// The longest text of a server that is shown, in characters.
const MAX_CHARS: usize = 300;

/// One line of at most 300 characters, without control and formatting characters and without `secrets`.
pub(super) fn clean(text: &[u8], secrets: &[SecretString]) -> String {
    let mut text = String::from_utf8_lossy(text).into_owned();
    for secret in secrets.iter().map(|secret| secret.expose_secret()).filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    let visible: String = text.chars().map(|c| if hidden(c) { ' ' } else { c }).collect();
    let mut line = String::new();
    for word in visible.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => {
            line.truncate(end);
            line.push('…');
            line
        }
        None => line,
    }
}

/// Control characters, and those that are not seen but change how their neighbours are shown.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn server_text() {
        let secrets = [SecretString::from("hunter2"), SecretString::from("")];
        for (text, expect) in [
            (&b"GitLab: You are not allowed\r\n to push.\n\n"[..], "GitLab: You are not allowed to push."),
            (b"\x1b[31mred\x1b[0m\x00", "[31mred [0m"),
            (b"token hunter2 is bad", "token *** is bad"),
            ("a\u{202e}b\u{200b}c".as_bytes(), "a b c"),
            (b"\xff", "\u{fffd}"),
            (b" \n ", ""),
        ] {
            assert_eq!(clean(text, &secrets), expect);
        }
        assert_eq!(clean(&[b'x'; 1000], &[]).chars().count(), MAX_CHARS + 1);
    }

    proptest! {
        #[test]
        fn is_one_short_visible_line(text: Vec<u8>) {
            let line = clean(&text, &[]);
            prop_assert!(line.chars().count() <= MAX_CHARS + 1);
            prop_assert!(!line.chars().any(hidden), "{line:?}");
        }
    }
}
