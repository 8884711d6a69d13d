//! The README's table, row by row.

use super::*;

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";

/// What a Secret with these keys uses for `of`; each value tells its key.
fn used(of: &str, keys: &[&str]) -> String {
    let mark = |prefix: &str, key: &str, suffix: &str| format!("{prefix}{key}{suffix}");
    let beside: &[(&str, String)] = match of {
        "client certificate" => &[("tls.key", KEY.to_owned())],
        "key of the client certificate" => &[("tls.crt", CA.to_owned())],
        _ => &[],
    };
    let values = keys.iter().map(|key| {
        let value = match of {
            "CA" | "client certificate" => mark("# ", key, &format!("\n{CA}")),
            "key of the client certificate" => mark("# ", key, &format!("\n{KEY}")),
            _ => mark("# ", key, "").replace("# ", ""),
        };
        (*key, value)
    });
    let values: Vec<(&str, String)> = values.chain(beside.iter().cloned()).collect();
    let pairs: Vec<(&str, &str)> = values.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let secret = secret(&pairs);
    let text = match of {
        "CA" => String::from_utf8(secret.certificates().unwrap().ca.unwrap()).unwrap(),
        "client certificate" => {
            String::from_utf8(secret.certificates().unwrap().client_certificate.unwrap().certificate).unwrap()
        }
        "key of the client certificate" => {
            secret.certificates().unwrap().client_certificate.unwrap().key.expose_secret().to_owned()
        }
        "token of a repository" => exposed(secret.repository().unwrap().token.as_ref()).unwrap().to_owned(),
        "kubeconfig" => secret.kubeconfig().unwrap().1.to_owned(),
        other => panic!("the README speaks of {other}, which no test knows"),
    };
    text.lines().next().unwrap().trim_start_matches("# ").to_owned()
}

#[test]
fn the_table_of_the_readme_holds() {
    let readme = include_str!("../../README.md");
    let (_, table) = readme.split_once("| Of | Precedence |\n|---|---|\n").unwrap();
    let mut rows = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let keys: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        for first in 0..keys.len() {
            assert_eq!(used(cells[1], &keys[first..]), keys[first], "{row}");
        }
        rows += 1;
    }
    assert_eq!(rows, 5);
}

#[test]
fn certificates() {
    let check = |pairs: &[(&str, &str)], expect: &str| {
        let error = secret(pairs).certificates().unwrap_err();
        assert_eq!(error.to_string(), expect);
        assert!(!format!("{error:?}").contains("canary"));
    };
    check(&[("token", "canary")], "Secret ns/s has no credentials: it needs `ca.crt`, or `tls.crt` and `tls.key`");
    check(&[("tls.crt", CA)], "Secret ns/s: key `tls.key` is missing; `tls.crt` is of no use without it");
    check(&[("keyFile", KEY)], "Secret ns/s: key `tls.crt` is missing; `keyFile` is of no use without it");
    check(&[("tls.crt", CA), ("tls.key", "canary")], "Secret ns/s: key `tls.key` holds no PEM private key");
    check(&[("certFile", "canary"), ("tls.key", KEY)], "Secret ns/s: key `certFile` holds no PEM certificate");
    let both = [("tls.crt", CA), ("tls.key", KEY), ("token", "t")];
    assert!(secret(&both).repository().unwrap().identity().client_certificate.is_some());
    assert!(secret(&both).webhook().unwrap().identity().client_certificate.is_some());
    assert!(!format!("{:?}", secret(&both).certificates().unwrap()).contains("PRIVATE"));
}

#[test]
fn proxies_of_their_own() {
    let proxy = secret(&[("address", " http://p.example:3128\n"), ("username", "u"), ("password", "canary p\n")]);
    let proxy = proxy.proxy().unwrap();
    assert_eq!((proxy.username.as_deref(), exposed(proxy.password.as_ref())), (Some("u"), Some("canary p")));
    assert!(!format!("{proxy:?}").contains("canary"));
    let proxy = secret(&[("address", "socks5://a:b@p.example"), ("username", "u")]).proxy().unwrap();
    assert_eq!((proxy.username.as_deref(), proxy.password.is_some()), (Some("u"), false));
    let check = |pairs: &[(&str, &str)], expect: &str| {
        assert_eq!(secret(pairs).proxy().unwrap_err().to_string(), expect);
    };
    check(&[("username", "u")], "Secret ns/s has no credentials: it needs the proxy's `address`");
    check(
        &[("address", "http://p.example"), ("password", "p")],
        "Secret ns/s: key `username` is missing; `password` needs it",
    );
    check(
        &[("address", "ftp://p.example")],
        "Secret ns/s: key `address` cannot be used: its scheme is none of http, https, socks5, socks5h",
    );
}

#[test]
fn two_tokens_and_an_hmac_key() {
    let credentials = secret(&[("token", "new"), ("token.previous", "old\n")]).webhook().unwrap();
    assert_eq!(exposed(credentials.previous_token.as_ref()), Some("old"));
    let error = secret(&[("token.previous", "canary")]).webhook().unwrap_err();
    assert_eq!(error.to_string(), "Secret ns/s: key `token` is missing; `token.previous` is the key that it replaces");
    assert_eq!(secret(&[("hmac-key", " k\n")]).hmac_key().unwrap().expose_secret(), " k\n");
    let error = secret(&[("hmac-key", "\n")]).hmac_key().unwrap_err();
    assert_eq!(error.to_string(), "Secret ns/s: key `hmac-key` is empty; fill it in or remove the key");
    secret(&[("token", "t")]).hmac_key().unwrap_err();
}
