use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const SECRET: &str = "It's a Secret to Everybody";

fn delivery(file: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/data/hooks/{file}.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    use aws_lc_rs::hmac;
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn deliveries_of_every_host() {
    let check = |sender, file: &str, url: &str, expect: Option<(u64, &str, Happened)>| {
        let notice = parse(sender, &delivery(file)).unwrap();
        let got = notice.pull_request.as_ref().map(|pull| (pull.number, pull.head.as_str(), pull.happened));
        assert_eq!(got, expect, "{file}");
        assert!(notice.concerns(&url.parse().unwrap()), "{file}");
        for other in ["https://github.com/other/repository", "https://github.com/x/y-Hello-World", "ssh://git@x/a"] {
            assert!(!notice.concerns(&other.parse().unwrap()), "{file}: {other}");
        }
    };
    let hello = "https://github.com/Codertocat/Hello-World.git";
    check(Sender::GitHub, "github-closed", hello, Some((2, "changes", Happened::Closed)));
    check(Sender::GitHub, "github-synchronize", hello, Some((2, "changes", Happened::Changed)));
    check(Sender::GitHub, "github-ping", "https://github.com/Octocoders/Hello-World", None);
    check(Sender::GitHub, "github-push", hello, None);
    let gitlab = "ssh://git@gitlab.example.com/gitlabhq/gitlab-test.git";
    check(Sender::GitLab, "gitlab-merged", gitlab, Some((1, "ms-viewport", Happened::Merged)));
    let head = "promotion/default/podinfo/prod/6.3.0-1a9e7245";
    check(
        Sender::Gitea,
        "gitea-merged",
        "https://gitea.svc:3000/sub/Fleet/Config.git",
        Some((7, head, Happened::Merged)),
    );
    check(
        Sender::Bitbucket,
        "bitbucket-server-merged",
        "https://bitbucket.example.com/scm/project_1/repository.git",
        Some((9, "admin/file-1505781548644", Happened::Merged)),
    );
    check(
        Sender::Bitbucket,
        "bitbucket-cloud-declined",
        "https://bitbucket.org/team_name/repo_name",
        Some((3, "branch2", Happened::Closed)),
    );
    for url in [
        "https://dev.azure.com/fabrikam/Fabrikam/_git/Fabrikam",
        "https://fabrikam.visualstudio.com/DefaultCollection/_git/Fabrikam",
        "ssh://git@ssh.dev.azure.com/v3/fabrikam/Fabrikam/Fabrikam",
    ] {
        check(Sender::Azure, "azure-completed", url, Some((1, "mytopic", Happened::Merged)));
    }
}

#[test]
fn what_cannot_be_read() {
    for sender in Sender::ALL {
        for body in [&b""[..], b"[]", b"{}", b"payload=%7B%7D", b"\xff", b"{\"repository\": 1}"] {
            let parsed = parse(sender, body);
            let nothing = Notice { tails: vec![], pull_request: None };
            assert!(parsed == Err(Refused::Unreadable) || parsed == Ok(nothing), "{sender} {parsed:?}");
        }
        assert_eq!(parse(sender, &vec![b' '; MAX_BODY + 1]), Err(Refused::TooLong));
        assert_eq!(parse(sender, &"[".repeat(MAX_BODY).into_bytes()), Err(Refused::Unreadable));
        assert_eq!(sender.name().parse(), Ok(sender));
    }
    assert_eq!("Github".parse::<Sender>(), Err(UnknownSender));
}

#[test]
fn github_documents_this_signature() {
    // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let headers = headers(&[("x-hub-signature-256", signature)]);
    let check = |body: &[u8], secret: &str| verify(Sender::GitHub, &headers, body, &secret.to_owned().into(), at(0));
    assert_eq!(check(b"Hello, World!", SECRET), Ok(()));
    assert_eq!(check(b"Hello, World", SECRET), Err(Refused::Forged));
    assert_eq!(check(b"Hello, World!", "another"), Err(Refused::Forged));
    assert_eq!(check(b"Hello, World!", ""), Err(Refused::Forged));
}

#[test]
fn signatures_tokens_and_passwords() {
    let body = b"{}";
    let signature = hex(&hmac(SECRET.as_bytes(), body));
    let prefixed = format!("sha256={signature}");
    let check = |sender, pairs: &[(&'static str, &str)], secret: &str, expect| {
        let secret = secret.to_owned().into();
        assert_eq!(verify(sender, &headers(pairs), body, &secret, at(1_000)), expect, "{sender} {pairs:?}");
    };
    let (ok, forged, unsigned) = (Ok(()), Err(Refused::Forged), Err(Refused::Unsigned));

    check(Sender::Gitea, &[("x-gitea-signature", &signature)], SECRET, ok);
    check(Sender::Gitea, &[("x-forgejo-signature", &signature)], SECRET, ok);
    check(Sender::Gitea, &[("x-forgejo-signature", "00"), ("x-gitea-signature", &signature)], SECRET, forged);
    check(Sender::Bitbucket, &[("x-hub-signature", &prefixed)], SECRET, ok);
    check(Sender::Bitbucket, &[("x-hub-signature", "sha1=00")], SECRET, forged);
    check(Sender::GitHub, &[("x-hub-signature-256", &signature)], SECRET, forged);
    check(Sender::GitHub, &[("x-hub-signature-256", "sha256=")], SECRET, forged);
    check(Sender::GitHub, &[("x-hub-signature-256", "sha256=0é")], SECRET, unsigned);
    check(Sender::GitHub, &[("x-hub-signature", &prefixed)], SECRET, unsigned);
    for sender in Sender::ALL {
        check(sender, &[], SECRET, unsigned);
    }

    check(Sender::GitLab, &[("x-gitlab-token", SECRET)], SECRET, ok);
    check(Sender::GitLab, &[("x-gitlab-token", "It's")], SECRET, forged);
    let key = [7; 32];
    let secret = format!("whsec_{}", STANDARD.encode(key));
    let sign = |id: &str, time: &str| STANDARD.encode(hmac(&key, format!("{id}.{time}.{{}}").as_bytes()));
    let signed = |time: &str, signature: &str, expect| {
        let pairs = [("webhook-id", "m"), ("webhook-timestamp", time), ("webhook-signature", signature)];
        check(Sender::GitLab, &pairs, &secret, expect);
    };
    signed("1000", &format!("v1,{}", sign("m", "1000")), ok);
    signed("1000", &format!("v1,AAAA v1,{}", sign("m", "1000")), ok);
    signed("700", &format!("v1,{}", sign("m", "700")), ok);
    signed("699", &format!("v1,{}", sign("m", "699")), Err(Refused::Old));
    signed("1301", &format!("v1,{}", sign("m", "1301")), Err(Refused::Old));
    signed("1000", &format!("v1,{}", sign("m", "999")), forged);
    signed("1000", &format!("v2,{}", sign("m", "1000")), forged);
    let with_token = [("webhook-signature", "v1,AAAA"), ("x-gitlab-token", secret.as_str())];
    check(Sender::GitLab, &with_token, &secret, unsigned);

    let basic = |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    check(Sender::Azure, &[("authorization", &basic("", SECRET))], SECRET, ok);
    check(Sender::Azure, &[("authorization", &basic("any", SECRET))], SECRET, ok);
    check(Sender::Azure, &[("authorization", &basic("joe", "x"))], "joe:x", ok);
    check(Sender::Azure, &[("authorization", &basic("ann", "x"))], "joe:x", forged);
    check(Sender::Azure, &[("authorization", "Basic !")], SECRET, forged);
    check(Sender::Azure, &[("authorization", "Bearer x")], SECRET, unsigned);
}

#[test]
fn a_delivery_counts_once() {
    let mut seen = Seen::default();
    assert_eq!(seen.note(b"a"), Ok(()));
    assert_eq!(seen.note(b"b"), Ok(()));
    assert_eq!(seen.note(b"a"), Err(Refused::Replayed));
    for other in 0..REMEMBERED {
        assert_eq!(seen.note(format!("{other}").as_bytes()), Ok(()));
    }
    assert_eq!(seen.digests.len(), REMEMBERED);
    assert_eq!(seen.order.len(), REMEMBERED);
    assert_eq!(seen.note(b"a"), Ok(()));
}

proptest! {
    #[test]
    fn anything_is_answered(name in 0_usize..5, body in ".{0,200}", value in "[ -~]{0,60}", secret in ".{0,20}") {
        let sender = Sender::ALL[name];
        drop(parse(sender, body.as_bytes()));
        let names = ["x-hub-signature-256", "x-hub-signature", "x-gitea-signature", "x-gitlab-token", "authorization",
            "webhook-signature", "webhook-id", "webhook-timestamp"];
        let headers = headers(&names.map(|name| (name, value.as_str())));
        let verified = verify(sender, &headers, body.as_bytes(), &secret.clone().into(), at(0));
        prop_assert!(verified.is_err() || value.contains(secret.trim()));
    }

    #[test]
    fn changed_deliveries_are_forged(at_byte in 0_usize..26_000, flip in 1_u8..=255) {
        let mut body = delivery("github-closed");
        let signature = format!("sha256={}", hex(&hmac(SECRET.as_bytes(), &body)));
        let headers = headers(&[("x-hub-signature-256", &signature)]);
        let secret = SECRET.to_owned().into();
        prop_assert_eq!(verify(Sender::GitHub, &headers, &body, &secret, at(0)), Ok(()));
        body[at_byte] ^= flip;
        prop_assert_eq!(verify(Sender::GitHub, &headers, &body, &secret, at(0)), Err(Refused::Forged));
    }
}
