use std::time::{Duration, Instant};

use egress::{Egress, Policy, Retry};
use promote_pr::git::{Error, Git, Limits, Pushed};
use testbed::TcpProxy;
use testbed::ssh_server::{Serve, Settings};
use testbed::tcp_proxy::{Cut, Then};

use crate::bed::{Bed, NEEDLE, connections, main, noise, told, within};

async fn serving(serve: Serve, limits: Limits) -> Bed {
    Bed::with(&Settings { serve, ..Settings::default() }, limits).await
}

fn down(down: usize, then: Then) -> Cut {
    Cut { down, up: usize::MAX, then }
}

fn up(up: usize, then: Then) -> Cut {
    Cut { down: usize::MAX, up, then }
}

/// Waits until nobody is connected to this port.
async fn let_go(port: u16) {
    let start = Instant::now();
    while connections(port) > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "{} connections are left", connections(port));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn git_that_ends_early_is_told() {
    for bytes in [0, 1, 100, 300, 400, 500] {
        let bed = serving(Serve::EndAfter(bytes), Limits::default()).await;
        let error = bed.fetch().await.unwrap_err();
        assert!(matches!(error, Error::Command { .. }), "{bytes}: {error:?}");
        assert_eq!(error.retry(), Retry::Later);
        let text = told(error);
        assert!(text.contains("exit status 7: the server is going away"), "{bytes}: {text}");
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn noise_beside_the_protocol_stops_nothing() {
    const NOISE: usize = 20_000_000;
    for serve in [Serve::NoiseBefore(NOISE), Serve::NoiseMeanwhile(NOISE)] {
        let bed = serving(serve, Limits::default()).await;
        let base = bed.fetch().await.unwrap();
        assert_eq!(base.files_containing(NEEDLE).await.unwrap().files.len(), 1);
        // More than the server takes in before it has to read.
        let big = format!("# {}\n", noise(6 << 20));
        let pushed = bed.push_to(&bed.remote, &base, &big, "b", None).await.unwrap();
        assert_eq!(pushed, Pushed::Done(bed.tip("b").await), "{serve:?}");
        bed.repo.fsck().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_silent_server_meets_the_deadline_and_leaves_nothing() {
    for bytes in [0, 300, 500] {
        let bed = serving(Serve::HangAfter(bytes), within(Duration::from_secs(1))).await;
        let error = bed.fetch().await.unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{bytes}: {error:?}");
        let_go(bed.ssh.port).await;
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_stalled_connection_meets_the_deadline_and_leaves_nothing() {
    let mut bed = Bed::start().await;
    // During the exchange of names, the key exchange and authentication, and in the middle of git's own conversation.
    for bytes in [10, 300, 1200, 2000, 3000] {
        bed.forget(within(Duration::from_secs(1)));
        let proxy = TcpProxy::start(bed.ssh.port, down(bytes, Then::Stall)).await.unwrap();
        let error = bed.git.fetch(&bed.through(proxy.port), &main()).await.unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{bytes}: {error:?}");
        let_go(proxy.port).await;
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_fetch_that_breaks_off_harms_nothing() {
    let mut bed = Bed::start().await;
    bed.repo.commit("main", &[("big.yaml", format!("# {}\n", noise(1 << 20)))], "Grow").await.unwrap();
    let mut broken = 0;
    for bytes in [0, 20, 40, 900, 1500, 1600, 1800, 2000, 2400, 2900, 3300, 4000, 10_000, 100_000, 600_000] {
        bed.forget(Limits::default());
        let proxy = TcpProxy::start(bed.ssh.port, down(bytes, Then::Close)).await.unwrap();
        let error = bed.git.fetch(&bed.through(proxy.port), &main()).await.unwrap_err();
        assert!(matches!(error, Error::Connection { .. }), "{bytes}: {error:?}");
        assert_eq!(error.retry(), Retry::Later);
        let_go(proxy.port).await;
        broken += 1;
        // Into what the broken fetch left.
        assert_eq!(bed.fetch().await.unwrap().files_containing(NEEDLE).await.unwrap().files.len(), 1, "{bytes}");
    }
    assert_eq!(broken, 15);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_push_that_breaks_off_writes_no_branch() {
    let mut bed = Bed::start().await;
    let big = format!("# {}\n", noise(6 << 20));
    for bytes in [3000, 100_000, 1_000_000, 2_500_000] {
        bed.forget(Limits::default());
        let base = bed.fetch().await.unwrap();
        let proxy = TcpProxy::start(bed.ssh.port, up(bytes, Then::Close)).await.unwrap();
        let error = bed.push_to(&bed.through(proxy.port), &base, &big, "b", None).await.unwrap_err();
        assert!(matches!(error, Error::Connection { .. }), "{bytes}: {error:?}");
        assert_eq!(bed.branches().await, ["main"]);
    }
    bed.repo.fsck().await.unwrap();
}

/// The window closes, and russh wakes no writer when the deadline or the connection's end comes.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_push_that_nobody_reads_ends() {
    let mut bed = Bed::start().await;
    let big = format!("# {}\n", noise(6 << 20));
    let base = bed.fetch().await.unwrap();
    bed.limit(within(Duration::from_secs(4)));
    let proxy = TcpProxy::start(bed.ssh.port, up(1_000_000, Then::Stall)).await.unwrap();
    let remote = bed.through(proxy.port);
    let error = bed.push_to(&remote, &base, &big, "b", None).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    assert_eq!(bed.branches().await, ["main"]);

    // The same, but the connection ends while the writer waits.
    bed.limit(Limits::default());
    let end = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.cut();
    };
    let (pushed, ()) = tokio::join!(bed.push_to(&remote, &base, &big, "b", None), end);
    assert!(matches!(pushed, Err(Error::Connection { .. })), "{pushed:?}");
    assert_eq!(bed.branches().await, ["main"]);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_connection_that_was_lost_while_it_waited_is_made_anew() {
    let bed = Bed::start().await;
    let proxy = TcpProxy::start(bed.ssh.port, down(usize::MAX, Then::Close)).await.unwrap();
    let remote = bed.through(proxy.port);
    bed.git.fetch(&remote, &main()).await.unwrap();
    assert_eq!(bed.ssh.connections().unwrap(), 1);
    proxy.cut();
    bed.git.fetch(&remote, &main()).await.unwrap();
    assert_eq!(bed.ssh.connections().unwrap(), 2);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn nothing_longer_than_a_pack_may_be_is_read() {
    let bed = serving(Serve::Git, Limits { pack: 1 << 20, ..Limits::default() }).await;
    bed.fetch().await.unwrap();
    bed.repo.commit("main", &[("big.bin", noise(4 << 20))], "Grow").await.unwrap();
    let error = bed.fetch().await.unwrap_err();
    assert!(matches!(error, Error::Limit { limit: 1_048_576, .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);

    let bed = serving(Serve::NoiseBefore(40 << 20), Limits::default()).await;
    let error = bed.fetch().await.unwrap_err();
    assert!(matches!(error, Error::Limit { name: "listing", limit: 33_554_432, .. }), "{error:?}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_fetch_that_nobody_waits_for_lets_go() {
    let bed = serving(Serve::HangAfter(0), Limits::default()).await;
    tokio::select! {
        fetched = bed.fetch() => panic!("{fetched:?}"),
        () = async {
            while bed.ssh.logins().unwrap() == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        } => {}
    }
    let_go(bed.ssh.port).await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn nobody_listens() {
    let bed = Bed::start().await;
    let port = testbed::ports::free().unwrap();
    let error = bed.git.fetch(&bed.through(port), &main()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
    assert!(told(error).contains("Connection refused"));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn addresses_that_are_refused_are_not_connected_to() {
    let bed = Bed::start().await;
    let folder = tempfile::tempdir().unwrap();
    let git = Git::new(Egress::new(Policy::default()).unwrap(), folder.path(), Limits::default());
    let error = git.fetch(&bed.remote, &main()).await.unwrap_err();
    assert!(matches!(error, Error::Network { source: egress::Error::Denied { .. }, .. }), "{error:?}");
    assert_eq!(bed.ssh.connections().unwrap(), 0);
}
