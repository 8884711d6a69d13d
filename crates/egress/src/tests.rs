pub(crate) mod dns;
mod guarded;
mod server;

use std::{error::Error as _, time::Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use octocrab::{
    OctocrabBuilder,
    service::middleware::{auth_header::AuthHeaderLayer, base_uri::BaseUriLayer},
};
use secrecy::SecretString;

use self::server::{Answer, Ca, Server, header, proxy};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn trusting(ca: &Ca) -> Identity {
    Identity { ca: Some(ca.pem()), ..Identity::default() }
}

/// The servers of the tests are on loopback, which nobody reaches without being allowed to.
fn policy() -> Policy {
    let guard = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], ..Guard::default() };
    Policy { guard, ..Policy::default() }
}

fn client(identity: &Identity) -> Client {
    Egress::new(policy()).unwrap().client(identity).unwrap()
}

fn get(url: &Url, path: &str) -> Request<Bytes> {
    Request::get(url.join(path).unwrap().as_str()).body(Bytes::new()).unwrap()
}

/// Message and causes, as logs and conditions show them.
fn text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn an_answer_comes_whole() {
    let ca = Ca::new();
    let server = Server::start(&ca, Answer::ok("[1]")).await;
    let request = Request::post(server.url.as_str()).body(Bytes::from_static(b"hello")).unwrap();
    let response = client(&trusting(&ca)).send(request).await.unwrap();
    assert_eq!((response.status(), response.body().as_ref()), (StatusCode::OK, b"[1]".as_slice()));

    let [request] = &server.requests()[..] else { panic!("one request") };
    assert!(request.ends_with("\r\n\r\nhello"));
    assert_eq!(header(request, "user-agent"), Some(Policy::default().user_agent.as_str()));
}

#[tokio::test]
async fn urls_that_are_never_called() {
    let strict = Egress::new(policy()).unwrap();
    let lax = Egress::new(Policy { allow_http: true, ..policy() }).unwrap();
    let check = |egress: &Egress, url: &str, expect: Result<(), &str>| {
        let result = egress.check(&Url::parse(url).unwrap());
        assert_eq!(result.as_ref().map_err(ToString::to_string), expect.as_ref().map_err(|text| (*text).to_owned()));
        if let Err(error) = result {
            assert_eq!(error.retry(), Retry::Never);
        }
    };
    check(&strict, "https://a.example:8443/x?y", Ok(()));
    check(
        &strict,
        "http://a.example/secret",
        Err("http://a.example is not called: plain http is not allowed; use https"),
    );
    check(&lax, "http://a.example/secret", Ok(()));
    check(&lax, "ftp://a.example/secret", Err("ftp://a.example is not called: its scheme is not https"));
    check(&lax, "file:///etc/passwd", Err("a URL without a host is not called: its scheme is not https"));
    let refused =
        "https://a.example is not called: user name and password do not belong in a URL; put them in a Secret";
    check(&strict, "https://canary:canary@a.example/", Err(refused));
    check(&strict, "https://canary@a.example/", Err(refused));

    let client = strict.client(&Identity::default()).unwrap();
    for uri in ["http://a.example/", "https://canary@a.example/", "/relative"] {
        let error = client.send(Request::get(uri).body(Bytes::new()).unwrap()).await.unwrap_err();
        assert!(matches!(error, Error::Url { .. }), "{uri}: {error:?}");
        assert!(!text(&error).contains("canary"));
    }
}

#[tokio::test]
async fn a_deadline_covers_the_body() {
    let ca = Ca::new();
    for answer in [Answer::Silent, Answer::Drip] {
        let server = Server::start(&ca, answer).await;
        let client = client(&trusting(&ca)).with_limits(Limits { deadline: SECOND / 2, body: 1 << 20 });
        let start = Instant::now();
        let error = client.send(get(&server.url, "/secret")).await.unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
        assert_eq!(error.retry(), Retry::Later);
        assert_eq!(
            text(&error),
            format!("{} did not answer in full within 500ms", server.url.as_str().trim_end_matches('/'))
        );
        assert!(start.elapsed() < 5 * SECOND);
    }
}

#[tokio::test]
async fn a_cap_covers_the_body() {
    let limit = |client: &Client, body| client.with_limits(Limits { deadline: 10 * SECOND, body });
    let ca = Ca::new();
    let client = client(&trusting(&ca));

    let server = Server::start(&ca, Answer::ok("12345")).await;
    assert_eq!(limit(&client, 5).send(get(&server.url, "/")).await.unwrap().body().as_ref(), b"12345");
    let error = limit(&client, 4).send(get(&server.url, "/")).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { limit: 4, .. }), "{error:?}");

    let endless = Server::start(&ca, Answer::Endless).await;
    let error = limit(&client, 1 << 20).send(get(&endless.url, "/")).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);

    let mut body = limit(&client, 1 << 20).stream(get(&endless.url, "/")).await.unwrap().into_body();
    let mut read = 0;
    let error = loop {
        match body.chunk().await {
            Ok(chunk) => read += chunk.expect("no end before the cap").len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
    assert!(read <= 1 << 20);
}

#[tokio::test]
async fn a_content_length_that_lies_gains_nothing() {
    let ca = Ca::new();
    let client = client(&trusting(&ca));

    let longer = Server::start(&ca, Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n12345")).await;
    assert_eq!(client.send(get(&longer.url, "/")).await.unwrap().body().as_ref(), b"12");

    let cut = Server::start(&ca, Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12345")).await;
    let error = client.send(get(&cut.url, "/")).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);

    let huge = Server::start(&ca, Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")).await;
    let error = client.stream(get(&huge.url, "/")).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let ca = Ca::new();
    let other = Server::start(&ca, Answer::ok("")).await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!("HTTP/1.1 {status} Moved\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url);
        let server = Server::start(&ca, Answer::raw(&head)).await;
        let response = client(&trusting(&ca)).send(get(&server.url, "/")).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["location"], other.url.as_str());
    }
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn only_the_right_server_is_trusted() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let server = Server::start(&ca, Answer::ok("")).await;
    let misnamed = Server::start_with(&ca, "other.example", None, Answer::ok("")).await;
    let operator = Egress::new(Policy { extra_ca: Some(ca.pem()), ..policy() }).unwrap();
    let nobody = Egress::new(policy()).unwrap();

    for client in [
        nobody.client(&trusting(&ca)).unwrap(),
        operator.client(&Identity::default()).unwrap(),
        operator.client(&trusting(&stranger)).unwrap(),
    ] {
        client.send(get(&server.url, "/")).await.unwrap();
    }
    for (client, url, cause) in [
        (nobody.client(&Identity::default()).unwrap(), &server.url, "UnknownIssuer"),
        (nobody.client(&trusting(&stranger)).unwrap(), &server.url, "UnknownIssuer"),
        (nobody.client(&trusting(&ca)).unwrap(), &misnamed.url, "certificate not valid for name"),
    ] {
        let error = client.send(get(url, "/secret")).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert!(text(&error).contains(cause), "{}", text(&error));
        assert!(!text(&error).contains("secret") && !format!("{error:?}").contains("secret"));
    }
}

#[test]
fn ca_bundles_that_trust_nothing_are_refused() {
    let good = String::from_utf8(Ca::new().pem()).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let key = Ca::new().issue("localhost").1;
    for pem in ["", "garbage", broken, &key, &format!("{good}{broken}")] {
        let error = Egress::new(Policy { extra_ca: Some(pem.into()), ..policy() }).unwrap_err();
        assert!(matches!(error, Error::Ca { whose: "the operator's", .. }), "{error:?}");
        assert_eq!(error.retry(), Retry::Never);
        let identity = Identity { ca: Some(pem.into()), ..Identity::default() };
        let error = Egress::new(policy()).unwrap().client(&identity).unwrap_err();
        assert!(text(&error).starts_with("the identity's CA bundle cannot be used: "), "{}", text(&error));
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let server = Server::start_with(&ca, "127.0.0.1", Some(&clients), Answer::ok("")).await;
    let (certificate, key) = clients.issue("me");
    let with = |certificate: &str, key: &str| Identity {
        client_certificate: Some(ClientCertificate { certificate: certificate.into(), key: SecretString::from(key) }),
        ..trusting(&ca)
    };
    client(&with(&certificate, &key)).send(get(&server.url, "/")).await.unwrap();
    client(&trusting(&ca)).send(get(&server.url, "/")).await.unwrap_err();

    let egress = Egress::new(policy()).unwrap();
    let error = egress.client(&with(&certificate, "no key")).unwrap_err();
    assert!(matches!(error, Error::ClientCertificate { .. }), "{error:?}");
    let error = egress.client(&with(&certificate, &clients.issue("you").1)).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_proxy_carries_the_call() {
    let ca = Ca::new();
    let server = Server::start(&ca, Answer::ok("")).await;
    let (address, connects) = proxy().await;
    let through = |address: &Url| Identity { proxy: Some(Proxy::new(address.clone()).unwrap()), ..trusting(&ca) };

    let mut with_password = address.clone();
    with_password.set_username("user").unwrap();
    with_password.set_password(Some("pass word")).unwrap();
    let identity = through(&with_password);
    assert!(!format!("{identity:?}").contains("pass word"), "{identity:?}");
    client(&identity).send(get(&server.url, "/")).await.unwrap();
    let connects = connects.lock().unwrap().clone();
    assert!(connects[0].starts_with(&format!("CONNECT {} ", server.url.authority())), "{connects:?}");

    let error = client(&through(&address)).send(get(&server.url, "/")).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    let proxied = format!("through the proxy {}", address.as_str().trim_end_matches('/'));
    assert!(error.to_string().contains(&proxied), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn proxies_that_cannot_be_used_are_refused() {
    for url in ["ftp://p.example", "socks4://p.example", "http://%ff@p.example", "data:x", "unix:/canary"] {
        let error = Proxy::new(Url::parse(url).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Proxy { .. }), "{url}: {error:?}");
        assert!(!text(&error).contains("canary"));
    }
    for url in ["http://p.example:3128", "https://p.example", "socks5://u:p@p.example", "socks5h://p.example"] {
        Proxy::new(Url::parse(url).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_secrets() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = Url::parse(&format!("https://127.0.0.1:{port}")).unwrap();
    let error = client(&trusting(&Ca::new())).send(get(&url, "/canary?canary=1")).await.unwrap_err();
    assert_eq!(text(&error), format!("cannot connect to https://127.0.0.1:{port}: Connection refused (os error 111)"));
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
}

#[tokio::test]
async fn clients_are_kept_by_identity_and_bounded() {
    let egress = Egress::new(policy()).unwrap();
    let ca = Ca::new();
    let kept = |egress: &Egress| egress.shared.clients.lock().unwrap().len();
    for _ in 0..3 {
        egress.client(&trusting(&ca)).unwrap();
    }
    assert_eq!(kept(&egress), 1);
    for user in 0..MAX_CLIENTS + 5 {
        let url = Url::parse(&format!("http://{user}:password@p.example")).unwrap();
        egress.client(&Identity { proxy: Some(Proxy::new(url).unwrap()), ..trusting(&ca) }).unwrap();
    }
    assert_eq!(kept(&egress), MAX_CLIENTS);
}

#[tokio::test]
async fn octocrab_runs_under_the_same_guards() {
    let ca = Ca::new();
    let octocrab = |server: &Server, body| {
        let base = http::Uri::try_from(server.url.as_str()).unwrap();
        let client = client(&trusting(&ca)).with_limits(Limits { deadline: 10 * SECOND, body });
        OctocrabBuilder::new_empty()
            .with_service(client)
            .with_layer(&BaseUriLayer::new(base.clone()))
            .with_layer(&AuthHeaderLayer::new(Some("Bearer t".parse().unwrap()), base.clone(), base))
            .with_auth(octocrab::AuthState::None)
            .build()
            .unwrap()
    };
    let server = Server::start(&ca, Answer::ok(r#"{"login":"me"}"#)).await;
    let route = "/user";
    let me: serde_json::Value = octocrab(&server, 1 << 20).get(route, None::<&()>).await.unwrap();
    assert_eq!(me["login"], "me");
    let [request] = &server.requests()[..] else { panic!("one request") };
    assert!(request.starts_with("GET /user HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(request, "authorization"), Some("Bearer t"));

    let endless = Server::start(&ca, Answer::Endless).await;
    octocrab(&endless, 1 << 20).get::<serde_json::Value, _, ()>(route, None).await.unwrap_err();
}

/// The environment is a process' own, so the test starts itself once more in each environment.
#[tokio::test]
async fn the_environments_proxy_is_used_only_if_asked_for() {
    const TASK: &str = "EGRESS_TEST_TASK";
    #[expect(clippy::disallowed_methods, reason = "how the test tells its other process what to do")]
    let task = std::env::var(TASK);
    if let Ok(task) = task {
        let [system_proxy, url, pem] = task.splitn(3, '\n').collect::<Vec<_>>()[..] else { panic!("{task}") };
        let policy = Policy { system_proxy: system_proxy == "true", extra_ca: Some(pem.into()), ..policy() };
        let client = Egress::new(policy).unwrap().client(&trusting(&Ca::new())).unwrap();
        client.send(get(&Url::parse(url).unwrap(), "/")).await.unwrap();
        return;
    }

    let ca = Ca::new();
    let server = Server::start(&ca, Answer::ok("")).await;
    let (proxy, connects) = proxy().await;
    let proxy = proxy.as_str().replace("://", "://user:pass%20word@");
    for (system_proxy, no_proxy, expect) in [(false, "", 0), (true, "127.0.0.1", 0), (true, "", 1)] {
        let pem = String::from_utf8(ca.pem()).unwrap();
        let output = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::the_environments_proxy_is_used_only_if_asked_for"])
            .env(TASK, format!("{system_proxy}\n{}\n{pem}", server.url))
            .envs([("HTTPS_PROXY", &proxy), ("https_proxy", &proxy)])
            .envs([("NO_PROXY", no_proxy), ("no_proxy", no_proxy)])
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(connects.lock().unwrap().len(), expect, "{system_proxy} {no_proxy}");
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn nothing_is_sent_while_the_gate_is_shut() {
    let ca = Ca::new();
    let server = Server::start(&ca, Answer::ok("[1]")).await;
    let open = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = Arc::clone(&open);
    let gate = Gate::new(move || asked.load(std::sync::atomic::Ordering::Relaxed));
    let egress = Egress::new(Policy { gate: Some(gate), ..policy() }).unwrap();
    let client = egress.client(&trusting(&ca)).unwrap();
    let port = server.url.port().unwrap();
    client.send(get(&server.url, "/1")).await.unwrap();

    open.store(false, std::sync::atomic::Ordering::Relaxed);
    let error = client.send(get(&server.url, "/2")).await.unwrap_err();
    assert!(matches!(error, Error::Shut { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
    assert!(matches!(egress.connect("127.0.0.1", port).await, Err(Error::Shut { .. })));
    assert_eq!(server.requests().len(), 1);

    open.store(true, std::sync::atomic::Ordering::Relaxed);
    client.send(get(&server.url, "/3")).await.unwrap();
    egress.connect("127.0.0.1", port).await.unwrap();
}
