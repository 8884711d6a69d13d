//! `cargo xtask testbed`: a bed to try things on.

use std::time::Instant;

use anyhow::{Context as _, Result};
use testbed::{Testbed, VARIABLE};
use tokio::signal::unix::{SignalKind, signal};

/// Starts a bed, prints how to reach it and keeps it until Ctrl-C or SIGTERM.
pub(crate) async fn run() -> Result<()> {
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let stop = async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    };
    tokio::pin!(stop);

    let start = Instant::now();
    println!("Starting etcd, two API servers and Gitea …");
    let bed = tokio::select! {
        bed = Testbed::start() => bed?,
        () = &mut stop => return Ok(()),
    };
    println!(
        "The test bed is up after {:.1} s. Ctrl-C ends it.\n{}",
        start.elapsed().as_secs_f32(),
        how_to_reach(&bed)
    );
    stop.await;
    println!("Stopping the test bed …");
    Ok(())
}

fn how_to_reach(bed: &Testbed) -> String {
    let Testbed { control_plane, remote, gitea, ca, file, .. } = bed;
    format!(
        "
cluster         export KUBECONFIG={kubeconfig}
remote cluster  export KUBECONFIG={remote}
kubectl         {kubectl}
Gitea           {url}
                user {user}, password {password}
                token {token}
git             git -c http.sslCAInfo={ca} clone …
tests           {VARIABLE}={file} cargo test --workspace -- --ignored
",
        kubeconfig = control_plane.kubeconfig.display(),
        remote = remote.kubeconfig.display(),
        kubectl = control_plane.kubectl.display(),
        url = gitea.url,
        user = gitea.username,
        password = gitea.password,
        token = gitea.token,
        ca = ca.certificate_path().display(),
        file = file.display(),
    )
}
