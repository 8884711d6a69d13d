//! The signatures of a webhook, checked as its receivers' documentation says.

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use jiff::Timestamp;

/// How far a signed time may be off, as the
/// [reference libraries](https://github.com/standard-webhooks/standard-webhooks/tree/main/libraries) have it.
const TOLERANCE_SECONDS: i64 = 5 * 60;

pub(super) fn verify(headers: &HeaderMap, body: &[u8], secret: &str, now: Timestamp) -> Result<()> {
    for name in ["x-signature", "x-hub-signature-256"] {
        verify_hex(header(headers, name)?, body, secret).context(name)?;
    }
    let parts = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| header(headers, name));
    let [id, timestamp, signature] = parts;
    verify_standard(id?, timestamp?, signature?, body, secret, now)
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().with_context(|| format!("{name} is missing"))?;
    ensure!(values.next().is_none(), "{name} is there more than once");
    value.to_str().with_context(|| format!("{name} is no text"))
}

/// `sha256=<hex>` over the body, as Flux'
/// [generic-hmac](https://fluxcd.io/flux/components/notification/providers/#generic-webhook-with-hmac) and
/// [GitHub](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries) sign.
fn verify_hex(signature: &str, body: &[u8], secret: &str) -> Result<()> {
    let hex = signature.strip_prefix("sha256=").context("no sha256= at its start")?;
    let tag: String = sign(secret.as_bytes(), &[body]).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(hex == tag, "another secret, or another body");
    Ok(())
}

/// The [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
/// scheme: a space-separated list of `v1,<base64>` over `id.timestamp.body`.
fn verify_standard(
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    secret: &str,
    now: Timestamp,
) -> Result<()> {
    let seconds: i64 = timestamp.parse().context("webhook-timestamp is no number of seconds")?;
    let age = now.as_second().saturating_sub(seconds);
    ensure!(age.saturating_abs() <= TOLERANCE_SECONDS, "webhook-timestamp is {age} seconds off");
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).context("the secret after whsec_ is no base64")?,
        None => secret.as_bytes().to_vec(),
    };
    let tag = sign(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    let expected = format!("v1,{}", STANDARD.encode(tag));
    if !signatures.split(' ').any(|signature| signature == expected) {
        bail!("webhook-signature: another secret, or another id, timestamp or body");
    }
    Ok(())
}

fn sign(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_of_standard_webhooks_is_accepted() {
        let check = |id: &str, body: &str, age: i64| {
            verify_standard(
                id,
                "1649367553",
                "v1,AAAA v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
                body.as_bytes(),
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                Timestamp::from_second(1_649_367_553 + age).unwrap(),
            )
            .map_err(|error| error.to_string())
        };
        let (id, body) = ("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", r#"{"email":"test@example.com","username":"test_user"}"#);
        check(id, body, 0).unwrap();
        check(id, body, -300).unwrap();
        assert!(check(id, body, 301).unwrap_err().contains("301 seconds off"));
        assert!(check("msg_other", body, 0).unwrap_err().contains("another id"));
        assert!(check(id, "{}", 0).unwrap_err().contains("body"));
    }

    #[test]
    fn the_vector_of_flux_is_accepted() {
        let body = r#"{"involvedObject":{"kind":"GitRepository","namespace":"gitops-system","name":"webapp"},"severity":"info","timestamp":"2022-09-30T06:40:29Z","message":"message","reason":"reason","metadata":{"test":"metadata"},"reportingController":"source-controller","reportingInstance":"source-controller-xyz"}"#;
        let signature = "sha256=65b018549b1254e7226d1c08f9567ee45bc9de0fc4e7b1a40253f9a018b08be7";
        let key = "7152fed34dd6149a7c75a276c510da27cb6f82b0";
        verify_hex(signature, body.as_bytes(), key).unwrap();
        assert!(verify_hex(signature, b"{}", key).is_err());
        assert!(verify_hex(signature.trim_start_matches("sha256="), body.as_bytes(), key).is_err());
    }
}
