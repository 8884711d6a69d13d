//! Whether a request that comes in is signed. Pure: the caller brings keys and clock.

use http::HeaderMap;
use jiff::Timestamp;

use crate::Keys;

/// How far the time of a signature may be off, in seconds, as the
/// [reference libraries](https://github.com/standard-webhooks/standard-webhooks/tree/main/libraries) have it.
const TOLERANCE: i64 = 5 * 60;

/// The longest `webhook-id`, in bytes.
const MAX_ID: usize = 256;

/// What a signature says beside that it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `webhook-id`: the same for as long as the same thing is said.
    pub id: String,
    /// When it was signed.
    pub time: Timestamp,
}

/// Verifies a request that is signed as
/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md) are:
/// `webhook-id` (at most 256 bytes), `webhook-timestamp` (within five minutes of `now`) and `webhook-signature`, each once.
/// `None` when it is not, and always without `keys`, after about the same time.
#[must_use]
pub fn verify(keys: Option<&Keys>, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Option<Signed> {
    let timestamp: i64 = header(headers, "webhook-timestamp")?.parse().ok()?;
    let (id, signatures) = (header(headers, "webhook-id")?, header(headers, "webhook-signature")?);
    let signed = keys.unwrap_or(&nobody()).verify(signatures, id, timestamp, body) && keys.is_some();
    let in_time = now.as_second().saturating_sub(timestamp).saturating_abs() <= TOLERANCE;
    let time = Timestamp::from_second(timestamp).ok()?;
    (signed && in_time && id.len() <= MAX_ID).then(|| Signed { id: id.to_owned(), time })
}

/// Verifies a request that is signed as Flux'
/// [generic-hmac](https://fluxcd.io/flux/components/notification/providers/#generic-webhook-with-hmac) signs: `X-Signature`, once,
/// `sha256=` and the hex HMAC of the body; sha224, sha384 and sha512 are understood too. Such a signature has no time: whoever
/// saw it can send it again. Never true without `keys`, after about the same time.
#[must_use]
pub fn verify_flux(keys: Option<&Keys>, headers: &HeaderMap, body: &[u8]) -> bool {
    let signature = header(headers, "x-signature").unwrap_or_default();
    keys.unwrap_or(&nobody()).verify_flux(signature, body) && keys.is_some()
}

/// Without a key, as much is computed as with one.
fn nobody() -> Keys {
    Keys { current: "nobody knows this".into(), previous: None }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(current: &str) -> Keys {
        Keys { current: current.into(), previous: Some("old".into()) }
    }

    #[test]
    fn flux_signatures() {
        let body = b"{\"reason\":\"reason\"}";
        let check = |signatures: &[&str], key: Option<&Keys>, expect: bool| {
            let mut headers = HeaderMap::new();
            for signature in signatures {
                headers.append("X-Signature", signature.parse().unwrap());
            }
            assert_eq!(verify_flux(key, &headers, body), expect, "{signatures:?}");
        };
        let (new, old) = (keys("new"), keys("old"));
        let signature = new.flux(body);
        check(&[&signature], Some(&new), true);
        check(&[&old.flux(body)], Some(&new), true);
        check(&[&signature.to_uppercase().replace("SHA", "sha")], Some(&new), true);
        check(&[&signature], Some(&keys("other")), false);
        check(&[&signature], None, false);
        check(&[&signature, &signature], Some(&new), false);
        check(&[], Some(&new), false);
        check(&[&new.flux(b"{}")], Some(&new), false);
        for broken in [
            "",
            "sha256",
            "sha256=",
            "sha256=zz",
            &signature.replace("sha256", "md5"),
            &signature.replace("sha256=", ""),
            "sha256=0",
        ] {
            check(&[broken], Some(&new), false);
        }
        // Of OpenSSL: printf '{"reason":"reason"}' | openssl dgst -sha512 -hmac new
        let sha512 = "sha512=41eb658011fc00ac679c1bd29f5f769dff483c04a3ba9d4ffa9b2719250ea0242a7f583159ba8f7759dc4bd6329f32a29d5a05c6cec9578df42d1df8a6c6ce12";
        check(&[sha512], Some(&new), true);
        check(&[&sha512.replace("sha512", "sha256")], Some(&new), false);
    }

    proptest::proptest! {
        #[test]
        fn nothing_but_a_signature_is_one(text in "(sha(224|256|384|512)=)?[ -~]{0,130}", body: Vec<u8>) {
            let mut headers = HeaderMap::new();
            headers.insert("X-Signature", text.parse().unwrap());
            assert!(!verify_flux(Some(&keys("new")), &headers, &body));
            headers.insert("X-Signature", keys("new").flux(&body).parse().unwrap());
            assert!(verify_flux(Some(&keys("new")), &headers, &body));
        }
    }

    #[test]
    fn a_long_id_is_nobodys() {
        let (keys, now) = (keys("new"), Timestamp::UNIX_EPOCH);
        let signed = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("webhook-id", id.parse().unwrap());
            headers.insert("webhook-timestamp", "0".parse().unwrap());
            headers.insert("webhook-signature", keys.standard(id, 0, b"{}").unwrap().parse().unwrap());
            verify(Some(&keys), &headers, b"{}", now)
        };
        assert_eq!(signed("id"), Some(Signed { id: "id".to_owned(), time: now }));
        assert_eq!(signed(&"x".repeat(MAX_ID + 1)), None);
    }
}
