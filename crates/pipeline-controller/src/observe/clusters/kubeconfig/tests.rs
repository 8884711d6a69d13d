use kube::config::{Config, KubeConfigOptions};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Stands for whatever must not be shown.
const CANARY: &str = "canary";

fn pem(label: &str) -> String {
    BASE64_STANDARD.encode(format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----"))
}

/// A kubeconfig with a token, and with a second context that nobody asked for.
fn kubeconfig() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "prod", "preferences": {}, "extra": 1,
        "contexts": [
            {"name": "other", "context": {"cluster": "other", "user": "other"}},
            {"name": "prod", "context": {"cluster": "prod", "user": "prod", "namespace": "apps"}},
        ],
        "clusters": [
            {"name": "other", "cluster": {"server": "http://other", "insecure-skip-tls-verify": true}},
            {"name": "prod", "cluster": {
                "server": "https://prod.example.com:6443/k8s/", "certificate-authority-data": pem("CERTIFICATE"),
                "insecure-skip-tls-verify": false, "proxy-url": "", "certificate-authority": "", "later": 1,
            }},
        ],
        "users": [
            {"name": "other", "user": {"exec": {"command": "touch"}}},
            {"name": "prod", "user": {"token": "t0ken", "as-groups": [], "tokenFile": "", "exec": null}},
        ],
    })
}

fn user(fields: Value) -> Value {
    let mut kubeconfig = kubeconfig();
    kubeconfig["users"][1]["user"] = fields;
    kubeconfig
}

fn with(pointer: &str, value: Value) -> Value {
    let mut kubeconfig = kubeconfig();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = kubeconfig.pointer_mut(parent).unwrap();
    parent[key] = value;
    kubeconfig
}

#[test]
fn keeps_the_current_context_and_nothing_else() {
    let parsed = parse(&kubeconfig().to_string()).unwrap();
    let ca = BASE64_STANDARD.decode(pem("CERTIFICATE")).unwrap();
    let expected = json!({
        "current-context": "target",
        "contexts": [{"name": "target", "context": {"cluster": "target", "user": "target"}}],
        "clusters": [{"name": "target", "cluster": {
            "server": "https://prod.example.com:6443/k8s",
            "certificate-authority-data": BASE64_STANDARD.encode([ca.as_slice(), b"\n"].concat()),
        }}],
        "users": [{"name": "target", "user": {"token": "t0ken"}}],
    });
    let mut value = serde_json::to_value(parsed).unwrap();
    for pointer in ["/users/0/user", "/contexts/0/context"] {
        let fields = value.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        fields.retain(|_, value| !value.is_null());
    }
    assert_eq!(value, expected);
}

#[test]
fn forgives_what_people_paste() {
    let token = |fields: Value| {
        let parsed = parse(&user(fields).to_string()).unwrap();
        let user = parsed.auth_infos.into_iter().next().unwrap().auth_info.unwrap();
        user.token.map(|token| token.expose_secret().to_owned())
    };
    assert_eq!(token(json!({"token": "t0ken\n"})).as_deref(), Some("t0ken"));
    let wrapped: String = pem("CERTIFICATE").chars().flat_map(|c| [c, '\n']).collect();
    let certificate =
        json!({"token": " \n", "client-certificate-data": wrapped, "client-key-data": pem("EC PRIVATE KEY")});
    assert_eq!(token(certificate), None);
}

#[test]
fn takes_client_certificates_and_passwords() {
    let check = |fields: Value| assert_eq!(parse(&user(fields.clone()).to_string()).err(), None, "{fields}");
    for key in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        check(json!({"client-certificate-data": pem("CERTIFICATE"), "client-key-data": pem(key)}));
    }
    check(json!({"username": "u", "password": "p"}));
    check(json!({"username": "u", "token": "t"}));
}

#[test]
fn refuses_what_could_run_read_or_weaken_something() {
    let check = |kubeconfig: Value, expected: &str| {
        let refused = parse(&kubeconfig.to_string()).unwrap_err();
        assert_eq!(refused.to_string(), expected);
        assert!(!format!("{refused:?}").contains(CANARY), "{refused:?}");
    };
    let in_user = |field: &str, value: Value, problem: &str| {
        check(with(&format!("/users/1/user/{field}"), value), &format!("users[1].user.{field}: {problem}"));
    };
    let in_cluster = |field: &str, value: Value, problem: &str| {
        check(with(&format!("/clusters/1/cluster/{field}"), value), &format!("clusters[1].cluster.{field}: {problem}"));
    };

    in_user("exec", json!({"command": CANARY}), RUNS_A_PROGRAM);
    in_user("exec", json!({}), RUNS_A_PROGRAM);
    in_user("auth-provider", json!({"name": "gcp", "config": {"cmd-path": CANARY}}), RUNS_A_PROGRAM);
    for field in ["tokenFile", "client-certificate", "client-key"] {
        in_user(field, json!("/etc/canary"), READS_A_FILE);
    }
    in_user("as", json!(CANARY), IMPERSONATES);
    in_user("as-uid", json!(CANARY), IMPERSONATES);
    in_user("as-groups", json!([CANARY]), IMPERSONATES);
    in_user("as-user-extra", json!({"scopes": [CANARY]}), IMPERSONATES);
    in_user("token", json!("a\ncanary"), "is not printable ASCII without blanks, as a token is");
    in_user("token", json!("cänary"), "is not printable ASCII without blanks, as a token is");

    in_cluster("certificate-authority", json!("/etc/canary"), READS_A_FILE);
    in_cluster("insecure-skip-tls-verify", json!(true), "would trust any server; use certificate-authority-data");
    in_cluster("proxy-url", json!("http://canary"), "would send the connection through another host");
    for server in ["http://canary", "canary:6443", "/canary", "https://", "ftp://canary", "unix:/canary"] {
        in_cluster("server", json!(server), "is not an https:// URL");
    }
    for server in ["https://canary@host", "https://:canary@host"] {
        in_cluster("server", json!(server), "holds user info; credentials belong into users");
    }
    for server in ["https://host/?canary", "https://host/#canary"] {
        in_cluster("server", json!(server), "holds a query or a fragment");
    }
    in_cluster("server", json!(""), "is missing");
    in_cluster("certificate-authority-data", json!("canary!"), "is not base64");
    in_cluster("certificate-authority-data", json!(BASE64_STANDARD.encode(CANARY)), "holds no PEM certificate");
    in_cluster("certificate-authority-data", json!(pem("PRIVATE KEY")), "holds no PEM certificate");
}

#[test]
fn says_what_is_missing() {
    let check = |kubeconfig: &str, expected: &str| {
        let refused = parse(kubeconfig).unwrap_err();
        assert_eq!(refused.to_string(), expected);
        assert!(!format!("{refused:?}").contains(CANARY), "{refused:?}");
    };
    let of = |kubeconfig: Value, expected: &str| check(&kubeconfig.to_string(), expected);

    check("", "current-context: is missing");
    check("kind: Config", "current-context: is missing");
    of(with("/current-context", json!("")), "current-context: is missing");
    of(with("/current-context", json!(CANARY)), "current-context: names no entry of contexts");
    of(with("/contexts/1/context", Value::Null), "contexts[1].context: is missing");
    of(with("/contexts/1/context/user", Value::Null), "contexts[1].context.user: is missing");
    of(with("/contexts/1/context/user", json!(CANARY)), "contexts[1].context.user: names no entry of users");
    of(with("/contexts/1/context/cluster", json!(CANARY)), "contexts[1].context.cluster: names no entry of clusters");
    of(with("/clusters/1/cluster", Value::Null), "clusters[1].cluster: is missing");
    of(with("/clusters/1/cluster/server", Value::Null), "clusters[1].cluster.server: is missing");
    of(with("/users/1/user", Value::Null), "users[1].user: is missing");
    of(
        user(json!({"username": CANARY})),
        "users[1].user: holds no credentials: it needs token, or client-certificate-data and client-key-data",
    );
    of(user(json!({"password": CANARY})), "users[1].user.username: is missing; password needs it");
    of(
        user(json!({"client-key-data": pem(CANARY)})),
        "users[1].user.client-certificate-data: is missing; client-key-data needs it",
    );
    of(
        user(json!({"client-certificate-data": pem(CANARY)})),
        "users[1].user.client-key-data: is missing; client-certificate-data needs it",
    );
    let pair = |certificate: &str, key: &str| json!({"client-certificate-data": certificate, "client-key-data": key});
    of(user(pair("?", &pem("PRIVATE KEY"))), "users[1].user.client-certificate-data: is not base64");
    of(user(pair(&pem("CERTIFICATE"), &pem(CANARY))), "users[1].user.client-key-data: holds no PEM private key");

    check("canary", "kubeconfig: is not the YAML of a kubeconfig (line 1, column 1)");
    check("clusters: [canary]", "kubeconfig: is not the YAML of a kubeconfig (line 1, column 12)");
    check("users:\n  - token: {canary\n", "kubeconfig: is not the YAML of a kubeconfig (line 2, column 12)");
    check(&"#".repeat(MAX_BYTES + 1), "kubeconfig: is larger than 256 KiB");
    let aliases: String = (1..20).map(|n| format!("a{n}: &a{n} [*a{0},*a{0},*a{0},*a{0}]\n", n - 1)).collect();
    let refused = parse(&format!("a0: &a0 [canary]\n{aliases}")).unwrap_err();
    assert_eq!(refused.field, "kubeconfig");
}

/// What kube does with the same text when nobody looks at it first.
#[tokio::test]
async fn a_plugin_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "touch", "args": [marker],
    });
    let kubeconfig = user(json!({"exec": exec})).to_string();
    assert_eq!(parse(&kubeconfig).unwrap_err().field, "users[1].user.exec");
    assert!(!marker.exists());

    let unchecked = Kubeconfig::from_yaml(&kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(unchecked, &KubeConfigOptions::default()).await.unwrap();
    config.proxy_url = None;
    assert!(kube::Client::try_from(config).is_err());
    assert!(marker.exists(), "kube no longer runs plugins: is the check still needed?");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,64}", field in "[a-z-]{1,12}", value in "[a-z{}\\[\\]\"':&*!|> \n-]{0,24}") {
        let _first = parse(&text);
        let _second = parse(&format!("current-context: a\nusers:\n- name: a\n  user:\n    {field}: {value}\n"));
    }
}
