use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use egress::Retry;
use http::{Request, Response};
use kube::client::Body;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::json;

use super::*;

#[expect(clippy::duplicate_mod, reason = "the checks, which fuzzing shares, bring the module along")]
#[path = "../../../fuzz/src/secrets.rs"]
mod checks;
mod precedence;

const CA: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

fn secret(pairs: &[(&str, &str)]) -> SecretValues {
    let data: serde_json::Map<String, serde_json::Value> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": "s"}, "stringData": data})).unwrap();
    SecretValues::from_secret(&secret)
}

fn exposed(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(|secret| secret.expose_secret())
}

#[test]
fn repository_credentials() {
    let check = |pairs: &[(&str, &str)], expect: [Option<&str>; 3]| {
        let credentials = secret(pairs).repository().unwrap();
        let RepositoryCredentials { username, password, token, .. } = &credentials;
        assert_eq!([username.as_deref(), exposed(password.as_ref()), exposed(token.as_ref())], expect);
    };
    check(&[("token", "ghp_1")], [None, None, Some("ghp_1")]);
    check(&[("token", " ghp_1\r\n")], [None, None, Some("ghp_1")]);
    check(&[("username", "u\n"), ("token", "t")], [Some("u"), None, Some("t")]);
    check(&[("username", "u"), ("password", " p w\n")], [Some("u"), Some(" p w"), None]);
    check(
        &[("username", "u"), ("password", "pä"), ("token", "t"), ("other", "\0")],
        [Some("u"), Some("pä"), Some("t")],
    );
}

#[test]
fn kubeconfigs() {
    #[track_caller]
    fn check(pairs: &[(&str, &str)], expect: Result<(&str, &str), &str>) {
        let secret = secret(pairs);
        let found = secret.kubeconfig().map_err(|error| error.to_string());
        assert_eq!(found, expect.map_err(ToOwned::to_owned));
    }
    check(&[("value", "a\n")], Ok(("value", "a\n")));
    check(&[("kubeconfig", "c"), ("value", "a"), ("value.yaml", "b")], Ok(("value", "a")));
    check(&[("kubeconfig", "c"), ("value.yaml", "b")], Ok(("value.yaml", "b")));
    check(&[("kubeconfig", "c"), ("config", "d")], Ok(("kubeconfig", "c")));
    check(
        &[("value", " \n"), ("kubeconfig", "c")],
        Err("Secret ns/s: key `value` is empty; fill it in or remove the key"),
    );
    check(
        &[("config", "d")],
        Err("Secret ns/s has no credentials: it needs a kubeconfig under `value`, `value.yaml` or `kubeconfig`"),
    );
}

#[test]
fn repository_errors_name_secret_and_key() {
    let wanted = "Secret ns/s has no credentials: it needs `token`, or `username` and `password`, or `identity` and \
                  `known_hosts`, or `githubAppID`";
    let check = |pairs: &[(&str, &str)], expect: &str| {
        let error = secret(pairs).repository().unwrap_err();
        assert_eq!((error.to_string().as_str(), error.retry()), (expect, Retry::Never));
        assert!(!format!("{error:?}").contains("canary"));
    };
    check(&[], wanted);
    check(&[("Token", "canary")], wanted);
    check(&[("username", "canary")], wanted);
    check(
        &[("password", "canary")],
        "Secret ns/s: key `username` is missing; `password` needs it, unless it is the passphrase of `identity`",
    );
    check(&[("token", " \n")], "Secret ns/s: key `token` is empty; fill it in or remove the key");
    let expect = "Secret ns/s: key `token` is not printable ASCII without blanks, as a token is";
    check(&[("token", "canary canary")], expect);
    check(&[("token", "cänary")], expect);
    let expect = "Secret ns/s: key `token` holds a line break or another control character";
    check(&[("token", "canary\r\nX-Evil: canary")], expect);
    let expect = "Secret ns/s: key `username` holds a colon, which basic authentication cannot carry";
    check(&[("username", "canary:x"), ("password", "p")], expect);
    check(&[("token", "t"), ("ca.crt", "canary")], "Secret ns/s: key `ca.crt` holds no PEM certificate");
}

#[test]
fn github_apps() {
    const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----";
    let app = [("githubAppID", "Iv1.5\n"), ("githubAppPrivateKey", KEY)];
    let check = |more: &[(&str, &str)], installation: GitHubInstallation, base: Option<&str>| {
        let credentials = secret(&[&app, more].concat()).repository().unwrap();
        let read = credentials.app.as_ref().unwrap();
        assert_eq!((read.id.as_str(), read.private_key.expose_secret()), ("Iv1.5", KEY));
        assert_eq!((&read.installation, read.base_url.as_ref().map(url::Url::as_str)), (&installation, base));
        assert!(!format!("{credentials:?}").contains("canary"), "{credentials:?}");
    };
    let id = ("githubAppInstallationID", " 42\n");
    check(&[id], GitHubInstallation::Id(42), None);
    let base = ("githubAppBaseURL", "https://ghes.example/api/v3");
    check(&[id, base, ("githubAppInstallationOwner", "org")], GitHubInstallation::Id(42), Some(base.1));
    check(&[("githubAppInstallationOwner", "org\n")], GitHubInstallation::Owner("org".to_owned()), None);

    let fails = |pairs: &[(&str, &str)], expect: &str| {
        let error = secret(pairs).repository().unwrap_err();
        assert_eq!((error.to_string().as_str(), error.retry()), (expect, Retry::Never));
    };
    fails(
        &app,
        "Secret ns/s: key `githubAppInstallationID` is missing, and so is `githubAppInstallationOwner`; `githubAppID` \
         needs one of them",
    );
    fails(
        &[app[0], ("githubAppInstallationID", "canary")],
        "Secret ns/s: key `githubAppInstallationID` is not a number",
    );
    fails(&[app[0], id], "Secret ns/s: key `githubAppPrivateKey` is missing; `githubAppID` needs it");
    fails(
        &[app[0], id, ("githubAppPrivateKey", "canary")],
        "Secret ns/s: key `githubAppPrivateKey` holds no private key: it begins with a line like -----BEGIN RSA \
         PRIVATE KEY-----",
    );
    fails(
        &[app[0], app[1], id, ("githubAppBaseURL", "canary")],
        "Secret ns/s: key `githubAppBaseURL` is no URL: relative URL without a base",
    );
}

#[test]
fn ssh_credentials() {
    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n-----END OPENSSH PRIVATE KEY-----\n";
    let key = [("identity", KEY), ("known_hosts", "github.com ssh-ed25519 canary\n")];
    let check = |more: &[(&str, &str)], passphrase: Option<&str>, basic: [Option<&str>; 2], token: Option<&str>| {
        let credentials = secret(&[&key, more].concat()).repository().unwrap();
        let ssh = credentials.ssh.as_ref().unwrap();
        assert_eq!((ssh.identity.expose_secret(), ssh.known_hosts.as_str()), (KEY, key[1].1));
        assert_eq!(exposed(ssh.passphrase.as_ref()), passphrase);
        assert_eq!([credentials.username.as_deref(), exposed(credentials.password.as_ref())], basic);
        assert_eq!(exposed(credentials.token.as_ref()), token);
        assert!(!format!("{credentials:?}").contains("canary"), "{credentials:?}");
    };
    check(&[], None, [None, None], None);
    check(&[("token", "t"), ("identity.pub", "ignored")], None, [None, None], Some("t"));
    // Alone it is the passphrase, and nothing that is sent to anybody.
    check(&[("password", "canary p\n")], Some("canary p"), [None, None], None);
    check(&[("password", "canary"), ("username", "u")], Some("canary"), [Some("u"), Some("canary")], None);

    let fails = |pairs: &[(&str, &str)], expect: &str| {
        let error = secret(pairs).repository().unwrap_err();
        assert_eq!((error.to_string().as_str(), error.retry()), (expect, Retry::Never));
    };
    let expect = "Secret ns/s: key `known_hosts` is missing; `identity` needs it, as no server is trusted on first use";
    fails(&key[..1], expect);
    let expect = "Secret ns/s: key `known_hosts` is empty; fill it in or remove the key";
    fails(&[key[0], ("known_hosts", "\n")], expect);
    let expect = "Secret ns/s: key `identity` holds no private key: it begins with a line like \
                  -----BEGIN OPENSSH PRIVATE KEY-----";
    fails(&[("identity", "ssh-ed25519 canary"), key[1]], expect);
    let expect = "Secret ns/s has no credentials: it needs `token`, or `username` and `password`, or `identity` and \
                  `known_hosts`, or `githubAppID`";
    fails(&key[1..], expect);
}

#[test]
fn values_that_are_no_text_are_refused() {
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": "s"}, "data": {"token": "/w=="},
    }))
    .unwrap();
    let error = SecretValues::from_secret(&secret).repository().unwrap_err();
    assert_eq!(error.to_string(), "Secret ns/s: key `token` is not UTF-8 text");
}

#[test]
fn string_data_wins_as_on_the_api_server() {
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "s"}, "data": {"token": "b2xk"}, "stringData": {"token": "new"},
    }))
    .unwrap();
    let values = SecretValues::from_secret(&secret);
    assert_eq!(values.namespace, "default");
    assert_eq!(exposed(values.repository().unwrap().token.as_ref()), Some("new"));
}

#[test]
fn the_newer_ca_key_wins() {
    let check = |pairs: &[(&str, &str)], expect: Option<&str>| {
        let secret = secret(&[pairs, &[("token", "t")]].concat());
        assert_eq!(secret.repository().unwrap().identity().ca.as_deref(), expect.map(str::as_bytes));
        assert_eq!(secret.webhook().unwrap().identity().ca.as_deref(), expect.map(str::as_bytes));
    };
    let old = format!("old\n{CA}");
    check(&[], None);
    check(&[("caFile", &old)], Some(&old));
    check(&[("caFile", &old), ("ca.crt", CA)], Some(CA));
}

#[test]
fn webhook_credentials() {
    let credentials = secret(&[
        ("address", "https://jenkins.example/webhooks/canary?token=canary\n"),
        ("proxy", " http://user:canary%20pw@proxy.example:3128 "),
        ("token", "canary\n"),
        ("headers", "Authorization: Bearer canary\nX-Build: 0042\nX-Dry-Run: true\nX-Ratio: 1.50\n"),
    ])
    .webhook()
    .unwrap();
    assert_eq!(credentials.address.as_ref().unwrap().path(), "/webhooks/canary");
    assert_eq!(exposed(credentials.token.as_ref()), Some("canary"));
    let proxy = credentials.identity().proxy.unwrap();
    assert_eq!(proxy.url.as_str(), "http://proxy.example:3128/");
    assert_eq!((proxy.username.as_deref(), exposed(proxy.password.as_ref())), (Some("user"), Some("canary pw")));
    let headers: Vec<_> = credentials.headers.iter().map(|(k, v)| format!("{k}: {}", v.to_str().unwrap())).collect();
    assert_eq!(headers, ["authorization: Bearer canary", "x-build: 0042", "x-dry-run: true", "x-ratio: 1.50"]);
    assert!(!format!("{credentials:?}").contains("canary"), "{credentials:?}");
}

#[test]
fn webhook_errors_name_secret_and_key() {
    let check = |pairs: &[(&str, &str)], expect: &str| {
        let error = secret(pairs).webhook().unwrap_err();
        assert_eq!(error.to_string(), expect);
        assert!(!format!("{error:?}").contains("canary"));
    };
    let wanted = "one of `address`, `proxy`, `token`, `headers`, `ca.crt` and `tls.crt`";
    check(&[("password", "canary")], &format!("Secret ns/s has no credentials: it needs {wanted}"));
    check(&[("address", "")], "Secret ns/s: key `address` is empty; fill it in or remove the key");
    check(&[("address", "canary")], "Secret ns/s: key `address` is not a URL: relative URL without a base");
    check(&[("address", "canary:x")], "Secret ns/s: key `address` is not an https URL");
    let long = format!("https://a.example/{}", "x".repeat(2048));
    check(&[("address", &long)], "Secret ns/s: key `address` is longer than 2048 bytes");
    let expect = "Secret ns/s: key `address` has a user name or password before the host; \
                  use an `Authorization` header under `headers`";
    check(&[("address", "https://u:canary@a.example/")], expect);
    let expect = "Secret ns/s: key `proxy` cannot be used: its scheme is none of http, https, socks5, socks5h";
    check(&[("proxy", "canary:canary@proxy:3128")], expect);
}

#[test]
fn headers_that_are_refused() {
    let check = |yaml: &str, expect: &str| assert_eq!(headers::parse(yaml).unwrap_err(), expect, "{yaml}");
    for name in ["Host", "CONTENT-LENGTH", "Transfer-Encoding", "Connection", "X-Signature", "Gotk-Component"] {
        check(&format!("{name}: x"), &format!("sets `{}`, which is reserved", name.to_lowercase()));
    }
    for name in ["webhook-id", "webhook-anything", "ce-type", "x-hub-signature-256", "proxy-authorization"] {
        check(&format!("{name}: x"), &format!("sets `{name}`, which is reserved"));
    }
    check("X-A: 1\nx-a: 2", "sets `x-a` twice; header names do not differ by case");
    check("X-A: \"canary\\r\\nX-B: canary\"", "sets `x-a` to a value that is not printable ASCII on one line");
    check("X-A: \"canär\"", "sets `x-a` to a value that is not printable ASCII on one line");
    check("\"X A\": canary", "has an entry whose name cannot be a header's (number 1 by name)");
    check("\"X-A\\r\\nX-B\": canary", "has an entry whose name cannot be a header's (number 1 by name)");
    check("X-A: 1\nX-A: 2", "is not a YAML map from header names to text (line 2, column 1)");
    check("X-A: [canary]", "is not a YAML map from header names to text (line 1, column 6)");
    check("X-A: ~", "is not a YAML map from header names to text (line 1, column 6)");
    check("Bearer canary", "is not a YAML map from header names to text (line 1, column 1)");
    check(&format!("X-A: {}", "x".repeat(16 << 10)), "is longer than 16384 bytes");
    let many: String = (0..65).map(|n| format!("x-{n}: v\n")).collect();
    check(&many, "has more than 64 headers");
}

#[test]
fn yaml_bombs_are_refused() {
    let mut laughs = "a0: &a0 [x]\n".to_owned();
    for n in 1..20 {
        let aliases = vec![format!("*a{}", n - 1); 20].join(",");
        laughs.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    for yaml in [laughs, "[".repeat(10_000), "- ".repeat(8_000), "a: &a x\nb: *a".to_owned(), "<<: {a: b}".to_owned()] {
        assert!(headers::parse(&yaml).unwrap_err().starts_with("is not a YAML map from header names to text"));
    }
    assert_eq!(headers::parse("{}").unwrap(), []);
}

#[test]
fn the_corpus_of_fuzzing() {
    let each_of = |target: &str, check: fn(&[u8])| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let inputs: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!inputs.is_empty());
        for input in inputs {
            check(&std::fs::read(input).unwrap());
        }
    };
    each_of("headers", checks::check);
    each_of("addresses", checks::check_address);
}

proptest! {
    #[test]
    fn any_address_can_be_called_or_is_refused_unseen(
        address in "(https?|ftp|[a-z]{1,5})?(://|:)?(canary(:canary)?@)?[ -~\\PC]{0,60}canary[ -~]{0,20}",
    ) {
        match secret(&[("address", &address)]).webhook() {
            Ok(credentials) => {
                let url = credentials.address.unwrap();
                prop_assert!(matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
                prop_assert!(url.username().is_empty() && url.password().is_none());
                prop_assert!(url.as_str().parse::<http::Uri>().is_ok(), "{}", url);
            }
            Err(error) => prop_assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}"),
        }
    }

    #[test]
    fn any_proxy_can_be_used_or_is_refused_unseen(proxy in "(https?|socks5h?|ftp)?(://|:)?(canary(:canary)?@)?[ -~]{0,40}") {
        match secret(&[("proxy", &proxy)]).webhook() {
            Ok(credentials) => {
                let identity = credentials.identity();
                let url = identity.proxy.clone().unwrap().url;
                prop_assert!(url.username().is_empty() && url.password().is_none());
                let shown = format!("{identity:?}");
                prop_assert!(!shown.contains("canary:canary"), "{}", shown);
            }
            Err(error) => prop_assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}"),
        }
    }

    #[test]
    fn any_text_gives_sendable_headers_or_an_error(yaml in ".{0,200}") {
        for (name, value) in headers::parse(&yaml).unwrap_or_default() {
            prop_assert!(value.is_sensitive() && value.to_str().is_ok());
            prop_assert!(!name.as_str().starts_with("webhook-"));
        }
    }

    #[test]
    fn any_value_comes_back_or_is_refused_unseen(value in "canary[ -~\r\n\t]{0,40}") {
        let yaml = format!("x-a: {}", json!(value));
        match headers::parse(&yaml) {
            Ok(headers) => prop_assert_eq!(headers[0].1.to_str().unwrap(), value.trim()),
            Err(problem) => prop_assert!(!problem.contains("canary")),
        }
    }
}

/// A client of an API server that gives this answer, and the requests that it saw.
fn api_server(status: u16, answer: serde_json::Value) -> (kube::Client, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let service = tower::service_fn(move |request: Request<Body>| {
        seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let body = Body::from(answer.to_string().into_bytes());
        async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
    });
    (kube::Client::new(service, "default"), requests)
}

#[tokio::test]
async fn one_get_reads_a_secret() {
    let (client, requests) = api_server(
        200,
        json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": "ns", "name": "s", "resourceVersion": "7"}, "data": {"token": "Z2hwXzEK"}}),
    );
    let values = read(client, "ns", "s").await.unwrap();
    assert_eq!(*requests.lock().unwrap(), ["GET /api/v1/namespaces/ns/secrets/s"]);
    assert_eq!(values.resource_version.as_deref(), Some("7"));
    assert_eq!(exposed(values.repository().unwrap().token.as_ref()), Some("ghp_1"));
    assert!(!format!("{values:?}").contains("ghp_1"));
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_apart() {
    let answer = |code: u16, reason: &str| {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": "the message"});
        api_server(code, status).0
    };
    let error = read(answer(404, "NotFound"), "ns", "s").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_missing()), ("Secret ns/s does not exist", true));
    let error = read(answer(403, "Forbidden"), "ns", "s").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_missing()), ("Secret ns/s may not be read: the message", false));
    let error = read(answer(500, "InternalError"), "ns", "s").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.retry()), ("Secret ns/s was not read: the message", Retry::Later));
    let (client, _) = api_server(200, json!({"metadata": {"name": "s"}, "data": "canary"}));
    let error = read(client, "ns", "s").await.unwrap_err();
    assert_eq!(error.to_string(), "Secret ns/s was not read: the answer is not a Secret");
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn no_name_leaves_its_namespace() {
    let (client, requests) = api_server(200, json!({}));
    for (namespace, name) in [("ns", "../../other/secrets/s"), ("ns", ""), ("a/b", "s"), ("ns", "s?x"), ("ns", "-s")] {
        let error = read(client.clone(), namespace, name).await.unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{error:?}");
    }
    assert!(requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_silent_api_server_meets_the_deadline() {
    let service = tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let client = kube::Client::new(service, "default");
    let error = read_within(Duration::from_millis(50), client, "ns", "s").await.unwrap_err();
    assert_eq!(error.to_string(), "Secret ns/s was not read within 50ms");
    assert_eq!(error.retry(), Retry::Later);
}
