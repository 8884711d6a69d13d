use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};

use crate::Error;

/// `sha256=` and the hex HMAC-SHA256 of the body: Flux'
/// [`X-Signature`](https://fluxcd.io/flux/components/notification/providers/#generic-webhook-with-hmac) and GitHub's
/// [`X-Hub-Signature-256`](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries).
pub(crate) fn flux(token: &SecretString, body: &[u8]) -> String {
    let tag = hmac::sign(&key(token.expose_secret().as_bytes()), body);
    tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The `webhook-signature` of
/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme).
///
/// # Errors
/// [`Error::Token`] if the token starts with `whsec_` and no base64 follows.
pub(crate) fn standard(token: &SecretString, id: &str, timestamp: i64, body: &[u8]) -> Result<String, Error> {
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
    Ok(format!("v1,{}", BASE64_STANDARD.encode(context.sign())))
}

fn key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flux_own_vector() {
        let token = "7152fed34dd6149a7c75a276c510da27cb6f82b0".into();
        let body = r#"{"involvedObject":{"kind":"GitRepository","namespace":"gitops-system","name":"webapp"},"severity":"info","timestamp":"2022-09-30T06:40:29Z","message":"message","reason":"reason","metadata":{"test":"metadata"},"reportingController":"source-controller","reportingInstance":"source-controller-xyz"}"#;
        let expect = "sha256=65b018549b1254e7226d1c08f9567ee45bc9de0fc4e7b1a40253f9a018b08be7";
        assert_eq!(flux(&token, body.as_bytes()), expect);
    }

    #[test]
    fn github_own_vector() {
        let expect = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(flux(&"It's a Secret to Everybody".into(), b"Hello, World!"), expect);
    }

    #[test]
    fn standard_webhooks_own_vector() {
        let token = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into();
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = standard(&token, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body).unwrap();
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn tokens_that_cannot_sign() {
        for token in ["", "whsec_", "whsec_canary!", "whsec_A"] {
            let error = standard(&token.into(), "id", 0, b"").unwrap_err();
            assert!(matches!(error, Error::Token { .. }), "{token}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }
}
