//! What cannot be reached, tried on real sockets.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use tokio::net::TcpListener;

use super::*;

fn egress(allow: &[&str], lookup: Option<SocketAddr>) -> Egress {
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    let policy = Policy { allow_http: true, guard: Guard { allow, ..Guard::default() }, ..Policy::default() };
    let lookup = lookup.map_or(Lookup::System, Lookup::Dns);
    Egress::with_lookup(policy, Vec::new(), lookup)
}

/// A listener that must not be connected to.
async fn forbidden(address: &str) -> TcpListener {
    TcpListener::bind(address).await.unwrap()
}

/// Nobody connected, and nobody is about to.
async fn assert_untouched(listener: &TcpListener) {
    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "{accepted:?}");
}

#[track_caller]
fn assert_denied(result: Result<http::Response<Bytes>, Error>, why: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(!text(&error).contains("canary") && !format!("{error:?}").contains("canary"), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test]
async fn no_spelling_of_loopback_is_called() {
    let listener = forbidden("127.0.0.1:0").await;
    let port = listener.local_addr().unwrap().port();
    let client = egress(&[], None).client(&Identity::default()).unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "0.0.0.0",
        "0",
        "[::]",
        "%31%32%37.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
    ] {
        // As a Pipeline or a Secret has it: what a URL parser makes of it is what is called.
        let url = Url::parse(&format!("http://{host}:{port}/canary?canary")).unwrap();
        let request = Request::get(url.as_str()).body(Bytes::new()).unwrap();
        assert_denied(client.send(request).await, "only the operator can allow it");
    }
    assert_untouched(&listener).await;
}

#[tokio::test]
async fn metadata_is_not_called_and_neither_is_the_api_server() {
    let guard = Guard { api_server: vec!["10.96.0.1".parse().unwrap()], ..Guard::default() };
    let client = Egress::new(Policy { guard, ..Policy::default() }).unwrap().client(&Identity::default()).unwrap();
    for (host, why) in [
        ("169.254.169.254", "169.254.169.254 is a link-local address"),
        ("[::ffff:169.254.169.254]", "::ffff:169.254.169.254 is a link-local address"),
        ("[fd00:ec2::254]", "fd00:ec2::254 is an address of cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("10.96.0.1", "10.96.0.1 is the API server's address"),
        ("[::ffff:10.96.0.1]", "the API server's address"),
    ] {
        let request = Request::get(format!("https://{host}/latest/canary")).body(Bytes::new()).unwrap();
        assert_denied(client.send(request).await, why);
    }
}

#[tokio::test]
async fn a_name_that_rebinds_is_judged_at_each_connection() {
    let ca = Ca::new();
    let listener = forbidden("127.0.0.1:0").await;
    let port = listener.local_addr().unwrap().port();
    let server = Server::start_at(&ca, format!("127.0.0.2:{port}"), "rebind.example").await;
    let (dns, asked) = dns::rebinding(&[Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST]).await;
    let egress = egress(&["127.0.0.2/32"], Some(dns));
    let url = Url::parse(&format!("https://rebind.example:{port}")).unwrap();

    // Each answer closes its connection, so the next call looks the name up again.
    let client = egress.client(&trusting(&ca)).unwrap();
    client.send(get(&url, "/")).await.unwrap();
    assert_denied(client.send(get(&url, "/")).await, "127.0.0.1 is a loopback address");
    assert_eq!((server.requests().len(), *asked.lock().unwrap()), (1, 2));
    let error = egress.connect("rebind.example", port).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_untouched(&listener).await;

    // The answer to the first question is the one that is connected to, whatever the second would be.
    let (dns, asked) = dns::rebinding(&[Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST]).await;
    let stream = self::egress(&["127.0.0.2/32"], Some(dns)).connect("rebind.example", port).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap().ip(), IpAddr::from([127, 0, 0, 2]));
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let ca = Ca::new();
    let listener = forbidden("127.0.0.1:0").await;
    let head = format!(
        "HTTP/1.1 307 Moved\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        listener.local_addr().unwrap()
    );
    let server = Server::start(&ca, Answer::raw(&head)).await;
    client(&trusting(&ca)).send(get(&server.url, "/")).await.unwrap();
    assert_untouched(&listener).await;
}

#[tokio::test]
async fn a_proxy_that_a_tenant_names_is_guarded_too() {
    let listener = forbidden("127.0.0.1:0").await;
    let port = listener.local_addr().unwrap().port();
    let egress = egress(&[], None);
    for scheme in ["http", "https", "socks5", "socks5h"] {
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let url = Url::parse(&format!("{scheme}://canary:canary@{host}:{port}")).unwrap();
            let identity = Identity { proxy: Some(Proxy::new(url).unwrap()), ..Identity::default() };
            let request = Request::get("https://203.0.113.1/canary").body(Bytes::new()).unwrap();
            let result = match egress.client(&identity) {
                Ok(client) => client.send(request).await,
                Err(error) => Err(error),
            };
            // The part that speaks SOCKS does not hand on why it cannot connect.
            match result.unwrap_err() {
                Error::Connect { .. } if scheme.starts_with("socks") && host == "localhost" => {}
                error => assert_denied(Err(error), "a loopback address"),
            }
        }
    }
    assert_untouched(&listener).await;
}

#[tokio::test]
async fn through_a_proxy_no_forbidden_address_is_asked_for() {
    let (address, connects) = proxy().await;
    let mut address = address;
    address.set_username("user").unwrap();
    address.set_password(Some("pass word")).unwrap();
    let identity = Identity { proxy: Some(Proxy::new(address).unwrap()), ..Identity::default() };
    let client = Egress::new(policy()).unwrap().client(&identity).unwrap();
    let request = Request::get("https://169.254.169.254/").body(Bytes::new()).unwrap();
    assert_denied(client.send(request).await, "a link-local address");
    assert!(connects.lock().unwrap().is_empty());
}

/// Calls by peer and outcome.
#[derive(Debug, Default)]
struct Counter(Mutex<BTreeMap<(String, Outcome), u64>>);

impl Observer for Counter {
    fn called(&self, call: &Call<'_>) {
        *self.0.lock().unwrap().entry((call.peer.to_owned(), call.outcome)).or_default() += 1;
    }
}

#[tokio::test]
async fn what_is_allowed_is_called_and_told() {
    let ca = Ca::new();
    let server = Server::start(&ca, Answer::ok("")).await;
    let counter = Arc::new(Counter::default());
    let observer: Arc<dyn Observer> = Arc::<Counter>::clone(&counter);
    let egress = Egress::new(Policy { observer: Some(observer), ..policy() }).unwrap();
    let client = egress.client(&trusting(&ca)).unwrap();
    client.send(get(&server.url, "/canary")).await.unwrap();
    client.send(get(&server.url, "/canary")).await.unwrap();
    client.with_limits(Limits { body: 0, ..Limits::default() }).send(get(&server.url, "/")).await.unwrap();
    let endless = Server::start(&ca, Answer::Endless).await;
    client.with_limits(Limits { body: 1, ..Limits::default() }).send(get(&endless.url, "/")).await.unwrap_err();
    let stranger = Server::start(&Ca::new(), Answer::ok("")).await;
    client.send(get(&stranger.url, "/")).await.unwrap_err();

    let mut expect = [
        (server.url.clone(), Outcome::Success, 3),
        (endless.url.clone(), Outcome::Success, 1),
        (endless.url.clone(), Outcome::TooLong, 1),
        (stranger.url.clone(), Outcome::Unreachable, 1),
    ];
    expect.sort_by_key(|(url, outcome, _)| (url.to_string(), *outcome));
    let counts = counter.0.lock().unwrap();
    let counts: Vec<_> = counts.iter().map(|((peer, outcome), count)| (peer.as_str(), *outcome, *count)).collect();
    let expect: Vec<_> =
        expect.iter().map(|(url, outcome, count)| (url.as_str().trim_end_matches('/'), *outcome, *count)).collect();
    assert_eq!(counts, expect);
}

#[tokio::test]
async fn a_connection_for_another_protocol_is_guarded() {
    let listener = forbidden("127.0.0.1:0").await;
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost", "::1", "[::1]"] {
        let error = egress(&[], None).connect(host, port).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{host}: {error:?}");
        let error = egress(&[], None).resolve(host, port).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{host}: {error:?}");
    }
    assert_untouched(&listener).await;
    let allowed = egress(&["127.0.0.1/32"], None);
    assert_eq!(allowed.resolve("127.0.0.1", port).await.unwrap(), [listener.local_addr().unwrap()]);
    allowed.connect("127.0.0.1", port).await.unwrap();
    listener.accept().await.unwrap();
}
