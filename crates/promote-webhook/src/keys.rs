use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};

use crate::Error;

/// The keys that both sides know: one, and while it is being replaced the one before it too.
///
/// Events are signed with both in `webhook-signature`, and with the current one in `X-Signature` and `X-Hub-Signature-256`, which
/// have room for one signature alone; reports are taken with either.
#[derive(Clone)]
pub struct Keys {
    /// The key of today.
    pub current: SecretString,
    /// The key that is being replaced.
    pub previous: Option<SecretString>,
}

impl Keys {
    /// `sha256=` and the hex HMAC-SHA256 of the body: Flux'
    /// [`X-Signature`](https://fluxcd.io/flux/components/notification/providers/#generic-webhook-with-hmac) and GitHub's
    /// [`X-Hub-Signature-256`](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries).
    pub(crate) fn flux(&self, body: &[u8]) -> String {
        let tag = hmac::sign(&key(self.current.expose_secret().as_bytes()), body);
        tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// The `webhook-signature` of
    /// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme).
    ///
    /// # Errors
    /// [`Error::Token`] if a key starts with `whsec_` and no base64 follows.
    pub(crate) fn standard(&self, id: &str, timestamp: i64, body: &[u8]) -> Result<String, Error> {
        let mut signatures = Vec::new();
        for token in self.all() {
            let signature = context(token, id, timestamp, body)?.sign();
            signatures.push(format!("v1,{}", BASE64_STANDARD.encode(signature)));
        }
        Ok(signatures.join(" "))
    }

    /// Whether one of the `webhook-signature`s is of one of the keys. Takes as long for a wrong one as for a right one.
    pub(crate) fn verify(&self, signatures: &str, id: &str, timestamp: i64, body: &[u8]) -> bool {
        let tags: Vec<Vec<u8>> = signatures
            .split(' ')
            .filter_map(|signature| BASE64_STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .take(MAX_SIGNATURES)
            .collect();
        self.all().filter_map(|token| context(token, id, timestamp, body).ok()).fold(false, |found, context| {
            let expect = context.sign();
            tags.iter().fold(found, |found, tag| {
                found | aws_lc_rs::constant_time::verify_slices_are_equal(tag, expect.as_ref()).is_ok()
            })
        })
    }

    /// Whether an `X-Signature` is of one of the keys. Takes as long for a wrong one as for a right one.
    pub(crate) fn verify_flux(&self, signature: &str, body: &[u8]) -> bool {
        let (algorithm, hex) = signature.split_once('=').unwrap_or_default();
        let (algorithm, known) = match algorithm {
            "sha224" => (hmac::HMAC_SHA224, true),
            "sha256" => (hmac::HMAC_SHA256, true),
            "sha384" => (hmac::HMAC_SHA384, true),
            "sha512" => (hmac::HMAC_SHA512, true),
            _ => (hmac::HMAC_SHA256, false),
        };
        let tag = from_hex(hex).unwrap_or_default();
        let keys = self.all().filter(|token| !token.expose_secret().is_empty());
        let signed = keys.fold(false, |found, token| {
            let expect = hmac::sign(&hmac::Key::new(algorithm, token.expose_secret().as_bytes()), body);
            found | aws_lc_rs::constant_time::verify_slices_are_equal(&tag, expect.as_ref()).is_ok()
        });
        signed && known
    }

    fn all(&self) -> impl Iterator<Item = &SecretString> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

/// More than any sender needs, so that nobody makes us compare for long.
const MAX_SIGNATURES: usize = 8;

fn context(token: &SecretString, id: &str, timestamp: i64, body: &[u8]) -> Result<hmac::Context, Error> {
    let token = token.expose_secret();
    let bytes = Zeroizing::new(match token.strip_prefix("whsec_") {
        Some(encoded) => BASE64_STANDARD
            .decode(encoded)
            .map_err(|_invalid| Error::Token { problem: "it starts with `whsec_`, but no base64 follows" })?,
        None => token.as_bytes().to_vec(),
    });
    if bytes.is_empty() {
        return Err(Error::Token { problem: "it is empty" });
    }
    let mut context = hmac::Context::with_key(&key(&bytes));
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    Ok(context)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2).map(std::str::from_utf8);
    digits
        .map(|pair| u8::from_str_radix(pair.ok().filter(|pair| pair.len() == 2 && !pair.contains('+'))?, 16).ok())
        .collect()
}

fn key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("previous", &self.previous.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(current: &str) -> Keys {
        Keys { current: current.into(), previous: None }
    }

    #[test]
    fn flux_own_vector() {
        let body = r#"{"involvedObject":{"kind":"GitRepository","namespace":"gitops-system","name":"webapp"},"severity":"info","timestamp":"2022-09-30T06:40:29Z","message":"message","reason":"reason","metadata":{"test":"metadata"},"reportingController":"source-controller","reportingInstance":"source-controller-xyz"}"#;
        let expect = "sha256=65b018549b1254e7226d1c08f9567ee45bc9de0fc4e7b1a40253f9a018b08be7";
        assert_eq!(keys("7152fed34dd6149a7c75a276c510da27cb6f82b0").flux(body.as_bytes()), expect);
    }

    #[test]
    fn github_own_vector() {
        let expect = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(keys("It's a Secret to Everybody").flux(b"Hello, World!"), expect);
    }

    #[test]
    fn standard_webhooks_own_vector() {
        let keys = keys("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        let (id, time) = ("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553);
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = keys.standard(id, time, body).unwrap();
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
        assert!(keys.verify(&signature, id, time, body));
        assert!(keys.verify(&format!("v1a,AAAA v1,AAAA {signature}"), id, time, body));
        for (signature, id, time, body) in [
            (signature.as_str(), "msg_other", time, body.as_slice()),
            (&signature, id, time + 1, body),
            (&signature, id, time, b"{}"),
            (signature.trim_start_matches("v1,"), id, time, body),
            ("", id, time, body),
            ("v1,", id, time, body),
        ] {
            assert!(!keys.verify(signature, id, time, body), "{signature}");
        }
    }

    #[test]
    fn two_keys_are_good_at_once() {
        let (old, new) = (keys("old"), keys("new"));
        let both = Keys { current: "new".into(), previous: Some("old".into()) };
        let signatures = both.standard("id", 7, b"{}").unwrap();
        assert!(old.verify(&signatures, "id", 7, b"{}") && new.verify(&signatures, "id", 7, b"{}"));
        assert!(!keys("other").verify(&signatures, "id", 7, b"{}"));
        for one in [&old, &new] {
            assert!(both.verify(&one.standard("id", 7, b"{}").unwrap(), "id", 7, b"{}"));
        }
        assert_eq!(both.flux(b"{}"), new.flux(b"{}"));
        assert!(!format!("{both:?}").contains("old"), "{both:?}");
    }

    #[test]
    fn tokens_that_cannot_sign() {
        for token in ["", "whsec_", "whsec_canary!", "whsec_A"] {
            let error = keys(token).standard("id", 0, b"").unwrap_err();
            assert!(matches!(error, Error::Token { .. }), "{token}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("canary"));
            assert!(!keys(token).verify("v1,AAAA", "id", 0, b""));
        }
    }
}
