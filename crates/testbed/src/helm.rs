//! The real Helm, to render and install charts.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{control_plane::ControlPlane, process::output, tools};

/// Helm's command line client.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
}

impl Helm {
    /// Finds `helm` on `PATH`, else in the [`cache_folder`](tools::cache_folder), where it is built when it is not there yet.
    ///
    /// # Errors
    /// When a build is needed and Go is absent, too old or fails.
    pub async fn find() -> Result<Self> {
        Ok(Self { program: tools::helm().await? })
    }

    /// What `helm template` renders of `chart` for a release of this name and namespace, on a Kubernetes of the bed's version.
    ///
    /// # Errors
    /// Helm refuses the chart or its values: the error holds what it says.
    pub async fn template(&self, chart: &Path, release: &str, namespace: &str, further: &[&str]) -> Result<String> {
        let chart = chart.to_string_lossy();
        let version = tools::kubernetes_version()?;
        let arguments = ["template", release, &chart, "--namespace", namespace, "--kube-version", version];
        self.run(&[&arguments, further].concat(), None).await
    }

    /// Runs Helm with these arguments, with an administrator's rights on `cluster` if there is one, and answers its standard
    /// output.
    ///
    /// # Errors
    /// When its exit code is not 0: the error holds its standard error.
    pub async fn run(&self, arguments: &[&str], cluster: Option<&ControlPlane>) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        match cluster {
            Some(cluster) => command.env("KUBECONFIG", &cluster.kubeconfig),
            None => command.env_remove("KUBECONFIG"),
        };
        Ok(String::from_utf8(output(command).await?)?)
    }
}
