use proptest::prelude::*;
use serde_json::json;

use super::*;

const ID: &str = "0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55";

fn keys(current: &str) -> Keys {
    Keys { current: current.into(), previous: None }
}

fn now() -> Timestamp {
    "2024-02-29T12:00:05Z".parse().unwrap()
}

fn signed(keys: &Keys, time: Timestamp, body: &[u8]) -> HeaderMap {
    let signature = keys.standard("msg_1", time.as_second(), body).unwrap();
    let pairs = [
        ("webhook-id", "msg_1".to_owned()),
        ("webhook-timestamp", time.as_second().to_string()),
        ("webhook-signature", signature),
    ];
    pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn take(body: &[u8]) -> Result<Report, Refusal> {
    let keys = keys("k");
    acknowledge(Some(&keys), Some(ID.parse().unwrap()), &signed(&keys, now(), body), body, now())
}

#[test]
fn a_report() {
    let body = json!({
        "promotionId": ID, "state": "running", "url": "https://jenkins.example/job/7", "reason": " two\r\nlines\u{1b}[2J ",
        "more": true,
    });
    let expect = Report {
        promotion_id: ID.parse().unwrap(),
        state: State::Running,
        url: Some("https://jenkins.example/job/7".parse().unwrap()),
        reason: Some("two  lines [2J".into()),
        time: now(),
    };
    assert_eq!(take(body.to_string().as_bytes()), Ok(expect));
    for (text, state) in [("succeeded", State::Succeeded), ("failed", State::Failed)] {
        let report = take(json!({"promotionId": ID, "state": text}).to_string().as_bytes()).unwrap();
        assert_eq!((report.state, report.url, report.reason), (state, None, None));
    }
    let long = json!({"promotionId": ID, "state": "failed", "reason": "é".repeat(5000)});
    assert_eq!(take(long.to_string().as_bytes()).unwrap().reason.unwrap().chars().count(), MAX_REASON);
}

#[test]
fn what_is_not_signed_is_not_looked_at() {
    let body = b"not even JSON";
    let (ours, id) = (keys("k"), Some(ID.parse().unwrap()));
    let check = |keys: Option<&Keys>, headers: &HeaderMap, expect: &Refusal| {
        assert_eq!(acknowledge(keys, id, headers, body, now()).unwrap_err(), *expect, "{headers:?}");
    };
    let good = signed(&ours, now(), body);
    assert!(matches!(acknowledge(Some(&ours), id, &good, body, now()), Err(Refusal::Malformed(_))));
    let rotated = Keys { current: "new".into(), previous: Some("k".into()) };
    assert!(matches!(acknowledge(Some(&rotated), id, &good, body, now()), Err(Refusal::Malformed(_))));

    check(None, &good, &Refusal::Unsigned);
    check(None, &signed(&keys("nobody knows this"), now(), body), &Refusal::Unsigned);
    check(Some(&keys("other")), &good, &Refusal::Unsigned);
    check(Some(&keys("")), &good, &Refusal::Unsigned);
    for off in [-301, 301, i64::from(i32::MAX)] {
        let time = Timestamp::from_second(now().as_second() + off).unwrap();
        check(Some(&ours), &signed(&ours, time, body), &Refusal::Unsigned);
    }
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut headers = good.clone();
        headers.append(name, good[name].clone());
        check(Some(&ours), &headers, &Refusal::Unsigned);
        headers.remove(name);
        check(Some(&ours), &headers, &Refusal::Unsigned);
        headers.insert(name, http::HeaderValue::from_bytes(b"\xff").unwrap());
        check(Some(&ours), &headers, &Refusal::Unsigned);
    }
    check(Some(&ours), &HeaderMap::new(), &Refusal::Unsigned);
}

#[test]
fn a_report_is_bound_to_its_promotion() {
    let body = json!({"promotionId": ID, "state": "succeeded"}).to_string().into_bytes();
    let keys = keys("k");
    let headers = signed(&keys, now(), &body);
    for other in [None, Some("7d1b1c84-7c4d-4b0a-9f0e-0d1c0f6f0a11".parse().unwrap())] {
        let refusal = acknowledge(Some(&keys), other, &headers, &body, now()).unwrap_err();
        assert_eq!(refusal, Refusal::OtherPromotion);
    }
}

#[test]
fn an_event_of_ours_is_no_report() {
    let body =
        br#"{"involvedObject":{"kind":"Pipeline"},"metadata":{"promotionId":"0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55"}}"#;
    assert!(matches!(take(body), Err(Refusal::Malformed(_))));
}

#[test]
fn reports_that_are_malformed() {
    for body in [
        json!({"state": "running"}),
        json!({"promotionId": ID}),
        json!({"promotionId": "x", "state": "running"}),
        json!({"promotionId": ID, "state": "Running"}),
        json!({"promotionId": ID, "state": "running", "url": "javascript:alert(1)"}),
        json!({"promotionId": ID, "state": "running", "url": "https://u:p@a.example/"}),
        json!({"promotionId": ID, "state": "running", "url": format!("https://a.example/{}", "x".repeat(2048))}),
        json!({"promotionId": ID, "state": "running", "url": 7}),
        json!([]),
    ] {
        assert!(matches!(take(body.to_string().as_bytes()), Err(Refusal::Malformed(_))), "{body}");
    }
    assert!(matches!(take(b""), Err(Refusal::Malformed(_))));
}

proptest! {
    #[test]
    fn nothing_that_is_signed_breaks_it(body: Vec<u8>) {
        if let Ok(report) = take(&body) {
            prop_assert_eq!(report.promotion_id.to_string(), ID);
        }
    }

    #[test]
    fn nothing_unsigned_gets_through(id in "[ -~]{0,20}", time in "[ -~]{0,20}", signature in "[ -~]{0,60}", body: Vec<u8>) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)] {
            headers.insert(name, value.parse().unwrap());
        }
        let refusal = acknowledge(Some(&keys("k")), Some(ID.parse().unwrap()), &headers, &body, now()).unwrap_err();
        prop_assert_eq!(refusal, Refusal::Unsigned);
    }
}
