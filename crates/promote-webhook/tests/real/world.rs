//! A delivery, and what it goes through.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use egress::{Client, Egress, Guard, Identity, Policy};
use jiff::Timestamp;
use promote_webhook::{Delivery, Event, Format, Keys, Pipeline, TIMEOUT};
use testbed::Ca;
use url::Url;

pub const KEY: &str = "a key that both sides know";
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn ca() -> Result<(tempfile::TempDir, Ca)> {
    let folder = tempfile::tempdir()?;
    let ca = Ca::generate(folder.path())?;
    Ok((folder, ca))
}

/// Loopback is allowed, for that is where the receivers are.
pub fn egress(ca: &Ca) -> Result<Egress> {
    let guard = Guard { allow: vec!["127.0.0.0/8".parse()?], ..Guard::default() };
    Ok(Egress::new(Policy { guard, extra_ca: Some(ca.pem().into()), ..Policy::default() })?)
}

pub fn client(ca: &Ca) -> Result<Client> {
    Ok(egress(ca)?.client(&Identity::default())?)
}

#[expect(clippy::disallowed_methods, reason = "receivers compare the time of a signature with their own")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

pub fn delivery(url: Url, format: Format) -> Delivery {
    Delivery {
        url,
        format,
        keys: Some(Keys { current: KEY.into(), previous: None }),
        headers: Vec::new(),
        timeout: TIMEOUT,
        event: Event {
            pipeline: Pipeline {
                api_version: "pipelines.weave.works/v1alpha1".into(),
                namespace: "default".into(),
                name: "podinfo".into(),
                uid: None,
            },
            promotion_id: uuid::uuid!("0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55"),
            environment: "prod".into(),
            source_environment: Some("dev".into()),
            version: "6.1.0".into(),
            previous_version: Some("6.0.3".into()),
            app_kind: "HelmRelease".into(),
            app_name: "podinfo".into(),
            timestamp: now(),
        },
    }
}

/// A Debian package's program, which `cargo xtask test` installs.
pub fn program(name: &str) -> Result<PathBuf> {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(PathBuf::from);
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
    found.with_context(|| format!("{name} is missing: `apt-get install -y {name}`"))
}
