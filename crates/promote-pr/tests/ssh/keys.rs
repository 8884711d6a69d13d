use egress::{Proxy, Retry};
use promote_pr::git::Error;
use secrecy::SecretString;
use testbed::ssh_server::Key;

use crate::bed::{Bed, identity, main, told};

const PASSPHRASE: &str = "pass phrase";

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn keys_of_every_kind_open_the_repository() {
    let mut bed = Bed::start().await;
    for arguments in [
        &["-t", "ed25519"][..],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "rsa", "-b", "2048", "-m", "PEM"],
        &["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
        &["-t", "ecdsa", "-m", "PEM"],
        &["-t", "ed25519", "-N", PASSPHRASE],
        &["-t", "rsa", "-b", "2048", "-N", PASSPHRASE],
        &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", PASSPHRASE],
        &["-t", "ecdsa", "-Z", "aes256-gcm@openssh.com", "-N", PASSPHRASE],
        &["-t", "ed25519", "-Z", "chacha20-poly1305@openssh.com", "-N", PASSPHRASE],
    ] {
        let mut key = Key::generate(arguments).await.unwrap();
        bed.ssh.authorize(&key).unwrap();
        key.private = key.private.trim_end().replace('\n', "\r\n");
        let mut identity = identity(&key, &bed.ssh.known_hosts());
        identity.passphrase = Some(SecretString::from(PASSPHRASE));
        bed.remote.ssh = Some(identity);
        let result = bed.fetch().await;
        assert!(result.is_ok(), "{arguments:?}: {result:?}");
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_key_that_the_server_does_not_know() {
    let mut bed = Bed::start().await;
    let stranger = Key::generate(&["-t", "ed25519"]).await.unwrap();
    bed.remote.ssh = Some(identity(&stranger, &bed.ssh.known_hosts()));
    let error = bed.fetch().await.unwrap_err();
    assert!(matches!(error, Error::KeyRefused { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    let expect = format!("does not accept the SSH key for user `{}`: it takes publickey", bed.ssh.user);
    assert!(error.to_string().ends_with(&expect), "{error}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn without_a_name_the_user_is_git() {
    let mut bed = Bed::start().await;
    let url = bed.remote.url.as_str().replace(&format!("{}@", bed.ssh.user), "");
    bed.remote.url = url.parse().unwrap();
    let error = bed.fetch().await.unwrap_err();
    assert!(error.to_string().contains("for user `git`"), "{error}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_cannot_be_used_reaches_no_server() {
    let bed = Bed::start().await;
    let shown = format!("{:?}", bed.remote);
    assert!(!shown.contains("PRIVATE") && !shown.contains("ssh-ed25519"), "{shown}");

    let mut remote = bed.remote.clone();
    remote.ssh = None;
    let error = bed.git.fetch(&remote, &main()).await.unwrap_err();
    assert!(error.to_string().ends_with("there is no private key and no known_hosts"), "{error}");

    let mut remote = bed.remote.clone();
    remote.identity.proxy = Some(Proxy::new("http://proxy.example:3128".parse().unwrap()).unwrap());
    let error = bed.git.fetch(&remote, &main()).await.unwrap_err();
    assert!(error.to_string().ends_with("SSH does not go through a proxy"), "{error}");

    let encrypted = Key::generate(&["-t", "ed25519", "-N", PASSPHRASE]).await.unwrap();
    for (passphrase, why) in [(None, "there is no passphrase"), (Some("wrong"), "the passphrase does not fit")] {
        let mut remote = bed.remote.clone();
        let mut identity = identity(&encrypted, &bed.ssh.known_hosts());
        identity.passphrase = passphrase.map(SecretString::from);
        remote.ssh = Some(identity);
        let error = bed.git.fetch(&remote, &main()).await.unwrap_err();
        assert!(matches!(error, Error::SshIdentity { .. }), "{error:?}");
        assert!(told(error).contains(why));
    }
    assert_eq!(bed.ssh.connections().unwrap(), 0);
}
