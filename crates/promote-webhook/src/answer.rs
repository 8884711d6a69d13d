use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use url::Url;

use crate::Error;

/// The receiver took the event: the promotion is asked for, not yet done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// 2xx.
    pub status: u16,
}

/// What an answer means, after
/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#deliverability-and-reliability):
/// only a 2xx is a success.
pub(crate) fn parse(url: &Url, status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Result<Delivered, Error> {
    let receiver = || url.origin().ascii_serialization();
    match status.as_u16() {
        code @ 200..=299 => Ok(Delivered { status: code }),
        300..=399 => Err(Error::Redirected { receiver: receiver(), status }),
        408 | 425 | 429 => Err(Error::Unavailable { receiver: receiver(), status, retry_after: wait(headers, now) }),
        400..=499 => Err(Error::Refused { receiver: receiver(), status }),
        _ => Err(Error::Unavailable { receiver: receiver(), status, retry_after: wait(headers, now) }),
    }
}

/// [`Retry-After`](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3): seconds, or a date. What is neither, or has
/// passed, is as if it were not there.
fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = DateTimeParser::new().parse_timestamp(text).ok()?;
    Duration::try_from(date.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use egress::Retry;

    use super::*;

    #[test]
    fn statuses() {
        let check = |codes: &[u16], expect: Result<(), Retry>| {
            for &code in codes {
                let status = StatusCode::from_u16(code).unwrap();
                let url = Url::parse("https://a.example:8443/canary?canary").unwrap();
                let result = parse(&url, status, &HeaderMap::new(), Timestamp::UNIX_EPOCH);
                assert_eq!(result.as_ref().map(|_| ()).map_err(Error::retry), expect, "{code}");
                match result {
                    Ok(delivered) => assert_eq!(delivered.status, code),
                    Err(error) => {
                        let text = format!("{error} {error:?}");
                        assert!(text.contains("https://a.example:8443") && !text.contains("canary"), "{text}");
                        assert!(text.contains(&code.to_string()), "{text}");
                    }
                }
            }
        };
        check(&[200, 201, 202, 204, 299], Ok(()));
        check(&[300, 301, 302, 303, 304, 307, 308], Err(Retry::Never));
        check(&[400, 401, 403, 404, 405, 409, 410, 413, 422, 451, 499], Err(Retry::Never));
        check(&[408, 425, 429, 500, 501, 502, 503, 504, 599], Err(Retry::Later));
    }

    #[test]
    fn retry_after() {
        let check = |text: &str, expect: Option<u64>| {
            let now: Timestamp = "2024-02-29T12:00:00Z".parse().unwrap();
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(wait(&headers, now), expect.map(Duration::from_secs), "{text}");
        };
        check("0", Some(0));
        check("120", Some(120));
        check(" 7 ", Some(7));
        check("99999999999999999999999", Some(u64::MAX));
        check("Thu, 29 Feb 2024 12:01:30 GMT", Some(90));
        check("Fri, 01 Mar 2024 12:00:00 GMT", Some(86_400));
        check("Thu, 29 Feb 2024 11:59:59 GMT", None);
        check("-5", None);
        check("1.5", None);
        check("soon", None);
        check("", None);
    }
}
