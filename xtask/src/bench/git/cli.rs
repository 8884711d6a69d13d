//! The same work with the git program, grep and sed, as scripts do it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::process::Command;

use super::repository;
use super::worker::{Access, Config};

pub struct Cli {
    url: String,
    /// Git's settings, which let it in.
    settings: Vec<(&'static str, String)>,
    /// Where the clones are.
    folder: PathBuf,
}

impl Cli {
    pub fn new(config: &Config, folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut settings = vec![
            ("user.name", "Bot".to_owned()),
            ("user.email", "bot@example.com".to_owned()),
            ("gc.auto", "0".to_owned()),
        ];
        match &config.access {
            Access::Https { ca, token } => {
                let file = folder.join("ca.pem");
                std::fs::write(&file, ca)?;
                let basic = STANDARD.encode(format!("x-access-token:{token}"));
                settings.push(("http.sslCAInfo", file.display().to_string()));
                settings.push(("http.extraHeader", format!("Authorization: Basic {basic}")));
            }
            Access::Ssh { private_key, known_hosts } => {
                let [key, hosts] = ["key", "known_hosts"].map(|name| folder.join(name));
                std::fs::write(&key, private_key)?;
                std::fs::set_permissions(&key, Permissions::from_mode(0o600))?;
                std::fs::write(&hosts, known_hosts)?;
                let (key, hosts) = (key.display(), hosts.display());
                let command = format!("ssh -F none -o BatchMode=yes -o UserKnownHostsFile={hosts} -i {key}");
                settings.push(("core.sshCommand", command));
            }
        }
        Ok(Self { url: config.url.clone(), settings, folder })
    }

    pub async fn clone_into(&self, name: &str) -> anyhow::Result<()> {
        self.sh(&format!("git clone --quiet --depth 1 --single-branch --branch main {} {name}", self.url)).await
    }

    /// Brings a clone to the tip.
    pub async fn update(&self, name: &str) -> anyhow::Result<()> {
        self.sh(&format!("cd {name} && git fetch --quiet --depth 1 origin main && git reset --quiet --hard FETCH_HEAD"))
            .await
    }

    /// Changes the application's value and pushes that to a branch.
    pub async fn promote(&self, name: &str, app: usize, branch: &str) -> anyhow::Result<()> {
        let marker = repository::marker(repository::marked(app));
        self.sh(&format!(
            "cd {name} && git checkout --quiet --detach && \
             grep -rlF --include='*.yaml' '\"$promotion\": \"{marker}\"' clusters | \
             xargs sed -i \"/{marker}/s/version: '[^']*'/version: '2.0.0'/\" && \
             git commit --quiet --all --message 'Promote' && git push --quiet origin HEAD:refs/heads/{branch}"
        ))
        .await
    }

    /// Removes a clone.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        Ok(std::fs::remove_dir_all(self.folder.join(name))?)
    }

    async fn sh(&self, script: &str) -> anyhow::Result<()> {
        let mut command = Command::new("sh");
        command.env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (number, (key, value)) in self.settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        let output = command
            .args(["-ec", script])
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("GIT_SSL_CAINFO")
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
