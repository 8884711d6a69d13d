//! Signatures, tokens and passwords of deliveries.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{Refused, TOLERANCE};

/// A hexadecimal HMAC with SHA-256 over the body, in the first of the headers that is there.
pub(super) fn hmac(
    headers: &HeaderMap,
    names: &[&str],
    prefix: &str,
    body: &[u8],
    secret: &SecretString,
) -> Result<(), Refused> {
    let signature = names.iter().find_map(|name| text(headers, name)).ok_or(Refused::Unsigned)?;
    let signature = signature.strip_prefix(prefix).and_then(from_hex).ok_or(Refused::Forged)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, usable(secret)?.as_bytes());
    hmac::verify(&key, body, &signature).map_err(|_unspecified| Refused::Forged)
}

/// The signature of [Standard Webhooks] if there is one, else the token itself.
///
/// [Standard Webhooks]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
pub(super) fn gitlab(headers: &HeaderMap, body: &[u8], secret: &SecretString, now: Timestamp) -> Result<(), Refused> {
    let secret = usable(secret)?;
    let Some(signatures) = text(headers, "webhook-signature") else {
        return same(text(headers, "x-gitlab-token").ok_or(Refused::Unsigned)?, secret);
    };
    let (Some(id), Some(time)) = (text(headers, "webhook-id"), text(headers, "webhook-timestamp")) else {
        return Err(Refused::Unsigned);
    };
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_undecodable| Refused::Forged)?,
        None => secret.as_bytes().to_vec(),
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    let signatures = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let mut signatures = signatures.filter_map(|signature| STANDARD.decode(signature).ok());
    if !signatures.any(|signature| hmac::verify(&key, &signed, &signature).is_ok()) {
        return Err(Refused::Forged);
    }
    let time = time.parse::<i64>().map_err(|_not_number| Refused::Forged)?;
    if now.as_second().abs_diff(time) > TOLERANCE.unsigned_abs() { Err(Refused::Old) } else { Ok(()) }
}

/// The password of basic authentication; the user counts only if the secret names one, as in `user:password`.
pub(super) fn password(headers: &HeaderMap, secret: &SecretString) -> Result<(), Refused> {
    let secret = usable(secret)?;
    let given = text(headers, AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Basic "));
    let given = STANDARD.decode(given.ok_or(Refused::Unsigned)?).ok();
    let given = given.and_then(|given| String::from_utf8(given).ok()).ok_or(Refused::Forged)?;
    let password = given.split_once(':').ok_or(Refused::Forged)?.1;
    same(if secret.contains(':') { &given } else { password }, secret)
}

/// Compares digests, whose comparison tells nothing of where, or how long, the texts differ.
fn same(given: &str, secret: &str) -> Result<(), Refused> {
    let digest = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    let (given, secret) = (digest(given), digest(secret));
    constant_time::verify_slices_are_equal(given.as_ref(), secret.as_ref()).map_err(|_unspecified| Refused::Forged)
}

/// An empty secret would let everybody in.
fn usable(secret: &SecretString) -> Result<&str, Refused> {
    let secret = secret.expose_secret().trim();
    if secret.is_empty() { Err(Refused::Forged) } else { Ok(secret) }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let [high, low] = pair else { return None };
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        Some(digit(high)? << 4 | digit(low)?)
    });
    pairs.collect()
}
