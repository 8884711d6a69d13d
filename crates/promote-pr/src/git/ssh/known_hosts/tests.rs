use proptest::prelude::*;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPQlJjFDyk4NXmfWcOZ7HkVh2DgXt5zVaJ5xPHOzW1fQ";

#[test]
fn names() {
    #[track_caller]
    fn check(names: &str, host: &str, port: u16, expect: bool) {
        let known = KnownHosts::parse(&format!("{names} {KEY}")).unwrap();
        assert_eq!(known.expect(host, port).is_ok(), expect, "{names} {host} {port}");
    }
    check("git.example.com", "git.example.com", 22, true);
    check("Git.Example.com", "GIT.example.COM", 22, true);
    check("git.example.com", "git.example.com", 2222, false);
    check("[git.example.com]:2222", "git.example.com", 2222, true);
    check("[git.example.com]:22", "git.example.com", 22, false);
    check("a,git.example.com,b", "git.example.com", 22, true);
    check("*.example.com", "git.example.com", 22, true);
    check("*.example.com", "example.com", 22, false);
    check("*", "git.example.com", 2222, true);
    check("git?.example.com", "git1.example.com", 22, true);
    check("git?.example.com", "git.example.com", 22, false);
    check("*,!git.example.com", "git.example.com", 22, false);
    check("!git.*,*", "other.example.com", 22, true);
    check("!git.example.com", "other.example.com", 22, false);
    check("::1", "::1", 22, true);
    check("[::1]:2222", "::1", 2222, true);
    // The example of sshd(8): `|1|base64 of the salt|base64 of the HMAC-SHA1 of the name`.
    let salt = "c2FsdCBzYWx0IHNhbHQgc2E=";
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &STANDARD.decode(salt).unwrap()),
        b"[git.example.com]:2222",
    );
    let hashed = format!("|1|{salt}|{}", STANDARD.encode(tag));
    check(&hashed, "git.example.com", 2222, true);
    check(&hashed, "git.example.com", 22, false);
    check(&hashed, "other.example.com", 2222, false);
}

#[test]
fn lines_that_cannot_be_understood() {
    for (text, expect) in [
        ("# comment\n\nhost\n", "known_hosts line 3: it must be: names, key type, key"),
        ("@revoked\n", "known_hosts line 1: it must be: names, key type, key"),
        ("@revoked host ssh-ed25519 AAAA", "known_hosts line 1: the revoked key cannot be read"),
        (
            "@cert-authorities host ssh-ed25519 AAAA",
            "known_hosts line 1: the marker is neither @cert-authority nor @revoked",
        ),
        ("|1|AAAA|AAAA ssh-ed25519 AAAA", "known_hosts line 1: the hashed host name cannot be read"),
        ("|2|AAAA|AAAA ssh-ed25519 AAAA", "known_hosts line 1: the host name is hashed in an unknown way"),
    ] {
        assert_eq!(KnownHosts::parse(text).err().as_deref(), Some(expect), "{text}");
    }
    // Keys of unknown types trust nobody, and harm nobody.
    let known = KnownHosts::parse(&format!("host ssh-new AAAA\nhost {KEY}\nother ssh-new AAAA")).unwrap();
    assert!(known.expect("host", 22).is_ok());
    let error = known.expect("other", 22).err().unwrap();
    assert_eq!(error, "known_hosts has no key for other but one that cannot be used, in line 3");
    let error = known.expect("third", 2222).err().unwrap();
    assert_eq!(error, "known_hosts has no key for [third]:2222; add those that its operator publishes");
}

#[test]
fn only_what_is_known_is_offered() {
    let algorithms = |text: &str| {
        let expected = KnownHosts::parse(text).unwrap().expect("host", 22).unwrap();
        let names = |list: Vec<russh::keys::Algorithm>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        (names(expected.key_algorithms()), names(expected.certificate_algorithms()).len())
    };
    assert_eq!(algorithms(&format!("host {KEY}")), (vec!["ssh-ed25519".to_owned()], 0));
    // Never `ssh-rsa`, which is SHA-1.
    let all = algorithms(&format!("@cert-authority host {KEY}"));
    assert!(!all.0.contains(&"ssh-rsa".to_owned()), "{all:?}");
    assert_eq!((all.0.len(), all.1), (6, 6));
}

/// What [`glob`] does, one step after the other.
fn simple_glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| simple_glob(rest, &text[skipped..])),
        ([b'?', rest @ ..], [_, others @ ..]) => simple_glob(rest, others),
        ([one, rest @ ..], [other, others @ ..]) => one == other && simple_glob(rest, others),
        _ => false,
    }
}

proptest! {
    #[test]
    fn globs(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
        prop_assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), simple_glob(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn no_text_is_too_strange(text in "(@revoked |@cert-authority |)([a*!,\\[\\]:|0-9=+/]{0,20})( ssh-ed25519| ssh-rsa|)( [A-Za-z0-9+/=]{0,40}|)\\PC{0,10}\n?") {
        if let Ok(known) = KnownHosts::parse(&text) {
            let _expected = known.expect("host", 22);
        }
    }

    #[test]
    fn a_host_that_no_line_names_is_unknown(host in "[b-z]{1,10}", port: u16) {
        let known = KnownHosts::parse(&format!("a,!b {KEY}\n@revoked * {KEY}")).unwrap();
        prop_assert!(known.expect(&host, port).is_err());
    }
}
