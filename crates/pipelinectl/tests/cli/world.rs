//! Repositories, hosts and manifests for a promotion.

use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;
use testbed::git_server::{RepoHandle, TOKEN};
use testbed::{Ca, GitHub, GitServer};

use crate::run::{Ran, run};

pub const FILES: [(&str, &str); 2] = [
    ("apps/prod.yaml", "kind: HelmRelease\nspec:\n  version: 6.2.0 # {\"$promotion\": \"default:podinfo:prod\"}\n"),
    ("apps/dev.yaml", "kind: HelmRelease\nspec:\n  version: 6.3.0\n"),
];

/// The servers of the tests are on loopback, which is called only where it is allowed.
pub const LOOPBACK: [&str; 2] = ["--egress-allow", "127.0.0.0/8"];

/// What a promotion of [`FILES`] to 6.3.0 changes.
pub const DIFFERENCE: &str = "\
--- a/apps/prod.yaml
+++ b/apps/prod.yaml
@@ -1,3 +1,3 @@
 kind: HelmRelease
 spec:
-  version: 6.2.0 # {\"$promotion\": \"default:podinfo:prod\"}
+  version: 6.3.0 # {\"$promotion\": \"default:podinfo:prod\"}
";

/// A Pipeline from dev to prod with this promotion.
pub fn pipeline(promotion: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline",
        "metadata": {"name": "podinfo", "namespace": "default"},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [
                {"name": "dev", "targets": [{"namespace": "dev"}]},
                {"name": "prod", "targets": [{"namespace": "prod"}]},
            ],
            "promotion": promotion,
        },
    })
}

/// The Secret that the manifests name, with this `stringData`.
pub fn secret(values: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fleet"}, "stringData": values})
}

/// Manifests in files, and a CA.
pub struct Files {
    pub folder: TempDir,
    pub ca: PathBuf,
}

impl Files {
    pub fn new(ca: &Ca) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), ca: ca.certificate_path() }
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The flags of a promotion to prod, with the manifests in files of their own.
    pub fn flags(&self, pipeline: &serde_json::Value, secret: &serde_json::Value) -> Vec<String> {
        let pipeline = self.write("pipeline.yaml", &pipeline.to_string());
        let secret = self.write("secret.yaml", &secret.to_string());
        let ca = self.ca.to_str().unwrap().to_owned();
        let flags = ["--file", &pipeline, "--secret", &secret, "--ca-file", &ca, "--environment", "prod"];
        [flags.as_slice(), &LOOPBACK].concat().into_iter().map(str::to_owned).collect()
    }
}

/// The imitated GitHub with a repository.
pub struct World {
    pub git: GitServer,
    pub github: GitHub,
    pub repo: RepoHandle,
    pub files: Files,
    _folder: TempDir,
}

pub const REPO: &str = "team/fleet";

impl World {
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ca = Ca::generate(folder.path())?;
        let git = GitServer::start(&ca).await?;
        let repo = git.create_repo(REPO, &FILES).await?;
        let github = GitHub::start(&ca, &git).await?;
        Ok(Self { files: Files::new(&ca), git, github, repo, _folder: folder })
    }

    pub fn pull_request(&self) -> serde_json::Value {
        serde_json::json!({"pullRequest": {
            "url": self.git.url(REPO), "branch": "main", "secretRef": "fleet",
            "provider": "github", "apiUrl": self.github.api_url(),
        }})
    }

    /// The flags of a promotion of the repository to prod.
    pub fn flags(&self) -> Vec<String> {
        self.files.flags(&pipeline(&self.pull_request()), &secret(&serde_json::json!({"token": TOKEN})))
    }

    pub async fn promote(&self, revision: &str, more: &[&str]) -> Ran {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        run(&[&["promote", "--revision", revision], flags.as_slice(), more].concat()).await
    }

    /// One branch beside main and one pull request are there, in this state.
    pub async fn assert_one(&self) -> Result<()> {
        let pulls = self.github.pulls(REPO).await?;
        let branches: Vec<String> = self.repo.branches().await?.into_keys().collect();
        assert_eq!(pulls.len(), 1, "{pulls:?}");
        assert_eq!(branches, ["main", pulls[0].head.as_str()]);
        assert_eq!(self.repo.log(&format!("main..{}", pulls[0].head)).await?.len(), 1);
        let changed = self.repo.diff("main", &pulls[0].head).await?;
        let changed: Vec<_> = changed.lines().filter(|line| line.starts_with(['+', '-'])).collect();
        assert_eq!(changed.len(), 4, "{changed:?}");
        self.repo.fsck().await
    }
}
