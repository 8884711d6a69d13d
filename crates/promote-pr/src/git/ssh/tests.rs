use egress::Egress;
use russh::keys::ssh_key::private::Ed25519Keypair;
use secrecy::SecretString;

use super::*;

fn connections() -> Connections {
    Connections::new(Egress::new(egress::Policy::default()).unwrap())
}

fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let identity = SshIdentity { private_key: SecretString::from("key"), passphrase: None, known_hosts: String::new() };
    let remote = Remote {
        url: url.parse().unwrap(),
        identity: egress::Identity::default(),
        username: Some("ignored".to_owned()),
        password: None,
        ssh: Some(identity),
    };
    Endpoint::new(&Arc::new(connections()), &remote, "key")
}

#[test]
fn what_urls_say() {
    #[track_caller]
    fn check(url: &str, expect: (&str, &str, u16, &str)) {
        let endpoint = endpoint(url).ok().unwrap();
        let Endpoint { user, host, port, path, .. } = &endpoint;
        assert_eq!((user.as_str(), host.as_str(), *port, path.as_str()), expect, "{url}");
    }
    check("ssh://host/org/fleet.git", ("git", "host", 22, "/org/fleet.git"));
    check("ssh://me@Host:2222/org/fleet.git", ("me", "host", 2222, "/org/fleet.git"));
    check("ssh://git@[::1]:2222/a", ("git", "::1", 2222, "/a"));
    check("ssh://d%40in@host/a%20b/%27c%27.git", ("d@in", "host", 22, "/a b/'c'.git"));
    check("ssh://host/~me/fleet", ("git", "host", 22, "~me/fleet"));
    check("ssh://host/-x", ("git", "host", 22, "/-x"));
    for url in ["ssh://host/a%0ab", "ssh://host/a%00b", "ssh://a%0Ab@host/c", "ssh://host/%ff"] {
        assert!(matches!(endpoint(url), Err(Error::SshIdentity { .. })), "{url}");
    }
}

#[test]
fn keys_are_read_once() {
    let connections = connections();
    let mut reads = 0;
    let mut read = |key: &str| {
        let keys = connections.keys(key, || {
            reads += 1;
            let private = PrivateKey::from(Ed25519Keypair::from_seed(&[reads; 32]));
            Ok(Keys { private: Arc::new(private), known_hosts: KnownHosts::parse("").unwrap() })
        });
        keys.unwrap().private.fingerprint(russh::keys::HashAlg::Sha256)
    };
    let first = read("one");
    assert_eq!(first, read("one"));
    assert_ne!(first, read("two"));
    assert_eq!(reads, 2);
}
