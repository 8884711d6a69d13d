use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use super::*;
use crate::faults::{Answer, Hold, Location, When};

const SECRET: &str = "s3cret";

async fn start() -> (TempDir, Receiver, reqwest::Client) {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::generate(folder.path()).unwrap();
    let receiver = Receiver::start(&ca).await.unwrap();
    (folder, receiver, ca.http_client().unwrap())
}

fn signed(client: &reqwest::Client, receiver: &Receiver, body: &'static str) -> reqwest::RequestBuilder {
    let tag = |text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes());
    let hex: String = tag(body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let seconds = now().as_second();
    let standard = STANDARD.encode(tag(&format!("msg_1.{seconds}.{body}")));
    client
        .post(receiver.url())
        .header("X-Signature", format!("sha256={hex}"))
        .header("X-Hub-Signature-256", format!("sha256={hex}"))
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", format!("v1,{standard}"))
        .body(body)
}

#[tokio::test]
async fn requests_are_kept_and_signatures_checked() {
    let (_folder, receiver, client) = start().await;
    receiver.require_signature(SECRET);
    let answer = signed(&client, &receiver, "{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer = signed(&client, &receiver, "{}").body("{ }").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(answer.text().await.unwrap().contains("x-signature"));

    let received = receiver.wait_for(2, Duration::from_secs(5)).await.unwrap();
    assert_eq!(received.len(), 2);
    assert_eq!((received[0].method.as_str(), received[0].path.as_str()), ("POST", "/webhooks/promotion"));
    assert_eq!((received[0].body.as_slice(), received[0].status), (b"{}".as_slice(), Some(StatusCode::ACCEPTED)));
    assert_eq!(received[0].header("webhook-id"), Some("msg_1"));
    received[0].verify(SECRET).unwrap();
    received[0].verify("other").unwrap_err();
    received[1].verify(SECRET).unwrap_err();
    let short = receiver.wait_for(3, Duration::from_millis(10)).await.unwrap_err();
    assert!(short.to_string().contains("2 of 3"), "{short}");
}

#[tokio::test]
async fn every_signature_header_has_to_be_there_once() {
    let (_folder, receiver, client) = start().await;
    for name in ["x-signature", "x-hub-signature-256", "webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut request = signed(&client, &receiver, "{}").build().unwrap();
        request.headers_mut().remove(name);
        client.execute(request).await.unwrap();
        let received = receiver.received().pop().unwrap();
        assert!(format!("{:#}", received.verify(SECRET).unwrap_err()).contains(name));

        let twice = signed(&client, &receiver, "{}").header(name, "1");
        twice.send().await.unwrap();
        assert!(receiver.received().pop().unwrap().verify(SECRET).is_err(), "{name}");
    }
}

#[tokio::test]
async fn the_script_is_followed_in_order() {
    let (_folder, receiver, client) = start().await;
    let hold = Hold::new();
    receiver.script([
        Fault::status(StatusCode::INTERNAL_SERVER_ERROR),
        Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, Duration::from_secs(7)),
        Fault::Redirect(StatusCode::TEMPORARY_REDIRECT, Location::Origin(receiver.url())),
        Fault::Answer(When::After, Answer::text(StatusCode::GONE)),
        Fault::Drop(When::Before),
        Fault::Drop(When::After),
        Fault::Delay(Duration::from_millis(50)),
        Fault::Hold(When::After, hold.clone()),
    ]);
    let post = async || client.post(receiver.url()).body("{}").send().await;
    assert_eq!(post().await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    let limited = post().await.unwrap();
    assert_eq!(limited.headers()["retry-after"], "7");
    let redirected = post().await.unwrap();
    assert_eq!(redirected.headers()["location"], receiver.url().as_str());
    assert_eq!(post().await.unwrap().status(), StatusCode::GONE);
    assert!(post().await.is_err());
    assert!(post().await.is_err());
    assert_eq!(post().await.unwrap().status(), StatusCode::ACCEPTED);
    let (answer, ()) = tokio::join!(post(), async {
        hold.reached().await.unwrap();
        hold.release();
    });
    assert_eq!(answer.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(post().await.unwrap().status(), StatusCode::ACCEPTED);

    let statuses: Vec<_> = receiver.received().iter().map(|got| got.status.map(|status| status.as_u16())).collect();
    let expect = [Some(500), Some(429), Some(307), Some(410), None, Some(202), Some(202), Some(202)];
    assert_eq!(statuses, expect);
}

#[tokio::test]
async fn answers_can_be_huge_or_cut() {
    let (_folder, receiver, client) = start().await;
    receiver.script([Fault::Huge(100_000), Fault::html(), Fault::CutAnswer(3)]);
    receiver.always(Fault::status(StatusCode::BAD_GATEWAY));
    let get = async || client.get(receiver.url()).send().await.unwrap();
    assert_eq!(get().await.bytes().await.unwrap().len(), 100_000);
    assert!(get().await.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    let mut cut = get().await;
    assert_eq!(cut.chunk().await.unwrap().unwrap().as_ref(), b"acc");
    cut.chunk().await.unwrap_err();
    assert_eq!(get().await.status(), StatusCode::BAD_GATEWAY);
    receiver.clear_script();
    assert_eq!(get().await.status(), StatusCode::ACCEPTED);
}
