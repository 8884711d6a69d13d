use proptest::prelude::*;

use super::*;

fn sign(key: &str) -> Result<String, InvalidKey> {
    SigningKey { key: SecretString::from(key), passphrase: None }.sign(b"content", Timestamp::UNIX_EPOCH)
}

#[test]
fn keys_that_are_none() {
    let check = |key: &str, expect: &str| {
        let error = sign(key).unwrap_err();
        assert!(error.to_string().contains(expect), "{key}: {error}");
    };
    check("", "neither an OpenSSH private key nor an armored OpenPGP");
    check("-----BEGIN RSA PRIVATE KEY-----\n", "neither");
    check("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "is damaged");
    check("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n", "is damaged");
    check("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n-----END PGP PRIVATE KEY BLOCK-----\n", "holds no private key");
}

#[test]
fn keys_do_not_show() {
    let key = SigningKey { key: SecretString::from("hunter2"), passphrase: Some(SecretString::from("swordfish")) };
    let shown = format!("{key:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "{shown}");
}

proptest! {
    #[test]
    fn no_key_is_too_strange(packets in prop::collection::vec(any::<u8>(), 0..200), tag in 0_u8..64) {
        use base64::Engine as _;
        let length = u8::try_from(packets.len().min(191)).unwrap();
        let framed = [&[0xc0 | tag, length, 4], packets.as_slice()].concat();
        for packets in [&packets, &framed] {
            let encoded = base64::engine::general_purpose::STANDARD.encode(packets);
            sign(&format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{encoded}\n-----END PGP PRIVATE KEY BLOCK-----"))
                .unwrap_err();
        }
    }
}
