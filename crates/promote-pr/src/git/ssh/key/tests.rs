use proptest::prelude::*;

use super::*;

/// With 5000 rounds of bcrypt.
const SLOW: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----\n\
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBmJsYv05\n\
hg8kfKD4kcHBYfAAATiAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIK3HG/tTeoDIZjXV\n\
iWpnsbGUAYB+2ic+2yw8AoSHYXDSAAAAkASb1eZgqSUCQfpoxoG+OErhui3/VgKCzvQKof\n\
CwrfNqphPhl3cSrVukYUwHqAgD6WRy5igqqqZ6OjhTEsjoiKzZ6BS5ZR6A4cQ8cJUJgRvN\n\
BOLhpK1kMsnURt8UonsZ36tg4e+L6SzD+3FVqcqp/QnyPP8PDv2cm7uzokO/aLgdMoX+fD\n\
/Fx205fW3GakGGBQ==\n\
-----END OPENSSH PRIVATE KEY-----\n
";

#[test]
fn texts_that_are_no_usable_key() {
    let pem = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    for (text, passphrase, expect) in [
        (String::new(), None, "the private key is not in OpenSSH's format or in PEM"),
        ("canary".to_owned(), None, "the private key is not in OpenSSH's format or in PEM"),
        ("ssh-ed25519 AAAA canary".to_owned(), None, PUBLIC),
        (pem("PUBLIC KEY", "AAAA"), None, PUBLIC),
        (pem("OPENSSH PRIVATE KEY", "canary!"), None, "the private key cannot be read"),
        (pem("OPENSSH PRIVATE KEY", "AAAA"), None, "the private key cannot be read"),
        (pem("RSA PRIVATE KEY", "AAAA"), None, "the private key cannot be read"),
        (pem("PRIVATE KEY", ""), None, "the private key cannot be read"),
        (
            pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n\nAAAA"),
            Some("x"),
            "the passphrase does not fit the private key, or it is not encrypted with AES-128",
        ),
        (
            pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA"),
            None,
            "the private key is encrypted, and there is no passphrase for it",
        ),
        (
            pem("ENCRYPTED PRIVATE KEY", "AAAA"),
            Some("x"),
            "the private key is encrypted as PKCS#8: rewrite it with `ssh-keygen -p -f FILE`",
        ),
        (pem("CERTIFICATE", "AAAA"), None, "the private key is not in OpenSSH's format or in PEM"),
        (
            "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n".to_owned(),
            None,
            "the private key is PuTTY's: export it as an OpenSSH key",
        ),
        (SLOW.to_owned(), Some("x"), "the private key asks for 5000 rounds of bcrypt; 1000 are the most"),
    ] {
        assert_eq!(parse(&text, passphrase).err().as_deref(), Some(expect), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(
        label in "(OPENSSH |RSA |EC |)PRIVATE KEY",
        body in "(Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,[0-9A-F]{0,32}\n\n|)[A-Za-z0-9+/=\n]{0,200}",
        passphrase: Option<String>,
    ) {
        let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        prop_assert!(parse(&text, passphrase.as_deref()).is_err());
    }
}
