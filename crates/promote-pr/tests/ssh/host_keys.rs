use egress::Retry;
use promote_pr::git::{Error, Limits};
use testbed::ssh_server::{Key, Settings, hash_known_hosts};

use crate::bed::{Bed, main};

/// A server with three types of keys.
async fn bed() -> Bed {
    let mut host_keys = Vec::new();
    for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa"], &["-t", "rsa", "-b", "2048"]] {
        host_keys.push(Key::generate(kind).await.unwrap());
    }
    Bed::with(&Settings { host_keys, ..Settings::default() }, Limits::default()).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn every_form_of_known_hosts() {
    let bed = bed().await;
    let port = bed.ssh.port;
    let name = format!("[127.0.0.1]:{port}");
    let [ed25519, ecdsa, rsa] = [0, 1, 2].map(|number| bed.ssh.host_keys[number].public.as_str());
    let other = Key::generate(&["-t", "ed25519"]).await.unwrap().public;
    let hashed = hash_known_hosts(&format!("{name} {ed25519}\n")).await.unwrap();
    assert!(hashed.starts_with("|1|"), "{hashed}");

    for accepted in [
        format!("{name} {ed25519}\n"),
        format!("{name} {ecdsa}"),
        format!("{name} {rsa}"),
        bed.ssh.known_hosts(),
        hashed.clone(),
        format!("example.com,{name},other {ed25519} a comment"),
        format!("[127.0.0.*]:{port} {ed25519}"),
        format!("[127.0.0.1]:* {ed25519}"),
        format!("# a comment\r\n\r\n\t{name}\t{ed25519}\t \r\n"),
        format!("{name} {other}\n{name} {ed25519}"),
        format!("@revoked {name} {ed25519}\n{name} {ecdsa}"),
        format!("{name} ssh-dss AAAAB3NzaC1kc3MAAACB\n{name} {ed25519}"),
    ] {
        let result = bed.git.fetch(&bed.knowing(&accepted), &main()).await;
        assert!(result.is_ok(), "{accepted}: {result:?}");
    }
    let logins = bed.ssh.logins().unwrap();

    for (refused, why) in [
        (String::new(), "has no key for"),
        (format!("127.0.0.1 {ed25519}"), "has no key for"),
        (format!("[127.0.0.1]:22 {ed25519}"), "has no key for"),
        (format!("other.example {ed25519}"), "has no key for"),
        (format!("*,!{name} {ed25519}"), "has no key for"),
        (format!("{name} ssh-ed25519 {}", ecdsa.split_once(' ').unwrap().1), "cannot be used, in line 1"),
        (format!("{name} {other}"), "known_hosts has others, in line 1"),
        (format!("{name} {ecdsa}\n@revoked * {ecdsa}"), "line 2 revokes"),
        (
            format!("@revoked {hashed_name} {ed25519}\n{hashed}", hashed_name = hashed.split_once(' ').unwrap().0),
            "line 1 revokes",
        ),
        (format!("@revoked {name} ssh-foo AAAA\n{name} {ed25519}"), "line 1: the revoked key cannot be read"),
        (format!("{name} {ed25519}\n@strange {name} {ed25519}"), "line 2: the marker"),
        (name.clone(), "line 1: it must be: names, key type, key"),
        (format!("|1|x|y {ed25519}"), "line 1: the hashed host name cannot be read"),
        (format!("@cert-authority {name} {ed25519}"), "presented the plain key"),
    ] {
        let error = bed.git.fetch(&bed.knowing(&refused), &main()).await.unwrap_err();
        assert!(matches!(error, Error::HostKey { .. } | Error::SshIdentity { .. }), "{refused}: {error:?}");
        assert_eq!(error.retry(), Retry::Never);
        assert!(error.to_string().contains(why), "{refused}: {error}");
    }
    bed.git.fetch(&bed.knowing(&format!("{name} {ed25519} last")), &main()).await.unwrap();
    assert_eq!(bed.ssh.logins().unwrap(), logins + 1, "who is not trusted sees no key");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_server_without_a_key_of_a_known_type() {
    let bed = Bed::start().await;
    let rsa = Key::generate(&["-t", "rsa", "-b", "2048"]).await.unwrap().public;
    let remote = bed.knowing(&format!("[127.0.0.1]:{} {rsa}", bed.ssh.port));
    let error = bed.git.fetch(&remote, &main()).await.unwrap_err();
    assert!(error.to_string().ends_with("it has no key of a type that known_hosts has for it: ssh-rsa"), "{error}");
    assert_eq!(bed.ssh.logins().unwrap(), 0);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn certificates_of_servers() {
    let authority = Key::generate(&["-t", "ed25519"]).await.unwrap();
    let rsa_authority = Key::generate(&["-t", "rsa", "-b", "2048"]).await.unwrap();
    let other = Key::generate(&["-t", "ecdsa"]).await.unwrap();
    let valid = ["-V", "-1h:+52w"];
    let here = ["-h", "-n", "other.example,127.0.0.1"];
    for (kind, by, arguments, refused) in [
        ("ed25519", &authority, [&here[..], &valid].concat(), None),
        ("ecdsa", &authority, [&here[..], &valid].concat(), None),
        ("rsa", &authority, [&here[..], &valid].concat(), None),
        ("ed25519", &rsa_authority, [&here[..], &valid].concat(), None),
        ("ed25519", &authority, [&["-h", "-n", "other.example"][..], &valid].concat(), Some("made out to other names")),
        ("ed25519", &authority, [&["-h"][..], &valid].concat(), Some("made out to other names")),
        ("ed25519", &authority, [&here[..], &["-V", "-2d:-1d"]].concat(), Some("is not valid now")),
        ("ed25519", &authority, [&["-n", "127.0.0.1"][..], &valid].concat(), Some("is not one for hosts")),
        ("ed25519", &other, [&here[..], &valid].concat(), Some("an authority that known_hosts does not have")),
        ("ed25519", &rsa_authority, [&here[..], &valid, &["-t", "ssh-rsa"]].concat(), Some("SHA-1")),
    ] {
        let key = Key::generate(&["-t", kind]).await.unwrap().certified(by, &arguments).await.unwrap();
        let bed = Bed::with(&Settings { host_keys: vec![key.clone()], ..Settings::default() }, Limits::default()).await;
        let name = format!("[127.0.0.1]:{}", bed.ssh.port);
        let known_hosts = format!(
            "@cert-authority {name} {}\n@cert-authority [127.0.0.*]:* {}\n",
            authority.public, rsa_authority.public
        );
        let result = bed.git.fetch(&bed.knowing(&known_hosts), &main()).await;
        match refused {
            None => {
                assert!(result.is_ok(), "{kind} {arguments:?}: {result:?}");
                for revoked in [&key.public, &by.public] {
                    let remote = bed.knowing(&format!("{known_hosts}@revoked * {revoked}\n"));
                    let error = bed.git.fetch(&remote, &main()).await.unwrap_err();
                    assert!(error.to_string().contains("line 3 revokes"), "{error}");
                }
            }
            Some(why) => {
                let error = result.unwrap_err();
                assert!(error.to_string().contains(why), "{kind} {arguments:?}: {error}");
                assert_eq!(bed.ssh.logins().unwrap(), 0);
            }
        }
    }
}
