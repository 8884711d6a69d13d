//! Servers that speak no SSH, or not to the end.

use std::net::Ipv4Addr;
use std::time::Duration;

use egress::Egress;
use promote_pr::git::{Error, Git, Remote};
use testbed::ssh_server::Key;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::bed::{identity, loopback, main, within};

/// How a fetch ends from a server that writes `first` and then, again and again, `then`.
async fn fetch_from(first: &'static [u8], then: &'static [u8]) -> Error {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut name = [0; 8];
        let _name = stream.read(&mut name).await;
        let mut written = stream.write_all(first).await;
        while written.is_ok() && !then.is_empty() {
            written = stream.write_all(then).await;
        }
        // Until the client goes.
        let mut rest = [0; 1024];
        while let Ok(1..) = stream.read(&mut rest).await {}
    });
    let key = Key::generate(&["-t", "ed25519"]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let git = Git::new(Egress::new(loopback()).unwrap(), folder.path(), within(Duration::from_secs(2)));
    let remote = Remote {
        url: format!("ssh://127.0.0.1:{port}/a/b.git").parse().unwrap(),
        identity: egress::Identity::default(),
        username: None,
        password: None,
        ssh: Some(identity(&key, &format!("[127.0.0.1]:{port} {}", key.public))),
    };
    let error = git.fetch(&remote, &main()).await.unwrap_err();
    // The connection is closed: nobody is left to write to.
    tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap();
    error
}

#[tokio::test]
async fn what_is_no_ssh_ends_in_an_error() {
    for (first, then) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &b""[..]),
        (b"", b"a line before the name\r\n"),
        (b"", b"no line ends here "),
        (b"SSH-1.99-old\r\n", b""),
        (b"SSH-2.0-x\r\n\xff\xff\xff\xff", b"\xff"),
        (b"SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x14", b"\x00"),
        (b"SSH-2.0-x\r\n", b"\x9e\x37\x79\xb9\x7f\x4a\x7c\x15"),
        (b"", b""),
    ] {
        let error = fetch_from(first, then).await;
        assert!(matches!(error, Error::Connection { .. } | Error::Deadline { .. }), "{first:?}: {error:?}");
    }
}
