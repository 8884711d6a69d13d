//! One bed: all servers that the tests of a run share.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::{
    ca::Ca,
    control_plane::{ControlPlane, Etcd},
    flux,
    folder::Folder,
    gitea::Gitea,
    tools::Tools,
};

/// The environment variable that names the file which [`Testbed::save`] wrote.
pub const VARIABLE: &str = "PIPELINE_TESTBED";

/// The real servers, started and ready.
///
/// The servers of a bed that this process started end with this value, or with the process when it is killed. Tests
/// share a bed: each takes a namespace and a repository of its own.
#[derive(Debug)]
pub struct Testbed {
    /// The cluster that the controller runs for, with Flux' kinds and GitopsCluster defined.
    pub control_plane: ControlPlane,
    /// Another cluster: an API server of its own that shares nothing with the first but the etcd process.
    pub remote: ControlPlane,
    /// The git host.
    pub gitea: Gitea,
    /// Who signed the servers' certificates.
    pub ca: Ca,
    /// The file that describes this bed to other processes, for [`VARIABLE`].
    pub file: PathBuf,
    // Dropped last, in this order.
    etcd: Option<Etcd>,
    _folder: Option<Folder>,
}

/// How another process finds a bed.
#[derive(Deserialize, Serialize)]
struct Saved<C, G> {
    control_plane: C,
    remote: C,
    gitea: G,
    ca: PathBuf,
}

impl Testbed {
    /// Starts all servers, at the same time where they allow it; the programs are built first when they are absent.
    pub async fn start() -> Result<Self> {
        let tools = Tools::find().await?;
        let folder = Folder::create()?;
        let path = folder.path();
        let ca = Ca::generate(&path.join("tls"))?;
        let clusters = async {
            let etcd = Etcd::start(&tools, &ca, &path.join("etcd")).await?;
            let cluster = async |name: &str| {
                let prefix = format!("/{name}");
                let cluster = ControlPlane::start(&tools, &ca, &etcd, &prefix, &path.join(name)).await?;
                cluster.apply(flux::CRDS).await?;
                anyhow::Ok(cluster)
            };
            let (control_plane, remote) = tokio::try_join!(cluster("control-plane"), cluster("remote"))?;
            anyhow::Ok((etcd, control_plane, remote))
        };
        let gitea = async { Gitea::start(&tools, &ca, &path.join("gitea")).await.context("starting Gitea") };
        let ((etcd, control_plane, remote), gitea) = tokio::try_join!(clusters, gitea)?;
        let file = path.join("bed.json");
        let bed = Self { control_plane, remote, gitea, ca, file, etcd: Some(etcd), _folder: Some(folder) };
        bed.save(&bed.file)?;
        Ok(bed)
    }

    /// Writes down how to reach this bed, for [`Testbed::attach`] in other processes, as [`Testbed::start`] did already
    /// into [`Testbed::file`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let saved = Saved {
            control_plane: &self.control_plane,
            remote: &self.remote,
            gitea: &self.gitea,
            ca: self.ca.folder().to_owned(),
        };
        let json = serde_json::to_string_pretty(&saved)?;
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))
    }

    /// Takes part in a bed that another process started; it lives on when this value is dropped.
    pub fn attach(path: &Path) -> Result<Self> {
        let attach = || {
            let saved: Saved<ControlPlane, Gitea> = serde_json::from_slice(&fs::read(path)?)?;
            let ca = Ca::load(&saved.ca)?;
            let Saved { control_plane, remote, gitea, .. } = saved;
            let file = path.to_owned();
            anyhow::Ok(Self { control_plane, remote, gitea, ca, file, etcd: None, _folder: None })
        };
        attach().with_context(|| format!("attaching to the test bed that {} describes", path.display()))
    }

    /// Sends etcd a signal by its name: `STOP` makes it hang, `CONT` lets it go on.
    ///
    /// # Errors
    /// Another process started it.
    pub fn signal_etcd(&self, signal: &str) -> Result<()> {
        self.etcd.as_ref().context("another process started etcd")?.signal(signal)
    }

    /// Forgets the history of all objects.
    ///
    /// # Errors
    /// Another process started etcd, or it does not answer.
    pub async fn forget_history(&self) -> Result<()> {
        self.etcd.as_ref().context("another process started etcd")?.compact(&self.ca).await
    }

    /// The process ids of the servers that this process started.
    pub fn pids(&self) -> Vec<u32> {
        let etcd = self.etcd.as_ref().map(Etcd::pid);
        [etcd, self.control_plane.pid(), self.remote.pid(), self.gitea.pid()].into_iter().flatten().collect()
    }
}

/// The bed of this test run: the one that `PIPELINE_TESTBED` names, as `cargo xtask test` sets it, else one that is
/// started at the first call and ends with this process.
pub async fn shared() -> Result<&'static Testbed> {
    static SHARED: OnceCell<Testbed> = OnceCell::const_new();
    #[expect(clippy::disallowed_methods, reason = "how one run's test processes find their common servers")]
    let path = std::env::var_os(VARIABLE);
    SHARED
        .get_or_try_init(|| async {
            match path {
                Some(path) => Testbed::attach(Path::new(&path)),
                None => Testbed::start().await,
            }
        })
        .await
}
