//! A git server over SSH: the real `sshd` of OpenSSH on the bare repositories of a folder.
//!
//! It runs as the user who runs the test, for whom it needs no right but one: as root it makes `/run/sshd`, which OpenSSH
//! wants then. What it is asked to run, it runs as written, with `/` standing for the folder.

mod key;

#[cfg(test)]
mod tests;

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::net::TcpStream;
use url::Url;

pub use self::key::{Key, hash_known_hosts};
use crate::{
    ports,
    process::{self, Process},
    tools,
};

const READY: Duration = Duration::from_secs(10);

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The keys that the server proves itself with; without any, it makes one of type Ed25519.
    pub host_keys: Vec<Key>,
    /// Whether clients may ask for git's protocol version 2; else version 0 is spoken.
    pub git_protocol: bool,
    /// What git does that it should not.
    pub serve: Serve,
    /// Further lines of [sshd_config(5)](https://man.openbsd.org/sshd_config), which win over the server's own.
    pub config: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { host_keys: Vec::new(), git_protocol: true, serve: Serve::Git, config: Vec::new() }
    }
}

/// How the server runs git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    /// As it should.
    Git,
    /// It ends with code 7 and a text after so many bytes.
    EndAfter(usize),
    /// It is silent after so many bytes.
    HangAfter(usize),
    /// It first writes so many bytes to standard error.
    NoiseBefore(usize),
    /// It writes so many bytes to standard error while git runs.
    NoiseMeanwhile(usize),
}

/// A running server; it stops when it is dropped.
#[derive(Debug)]
pub struct SshServer {
    /// On `127.0.0.1`.
    pub port: u16,
    /// Who logs in: the user who runs the test.
    pub user: String,
    /// The private key that the server lets in.
    pub client_key: Key,
    /// What the server proves itself with.
    pub host_keys: Vec<Key>,
    process: Process,
    folder: TempDir,
}

impl SshServer {
    /// Serves the bare repositories below `root`, such as those of a [`GitServer`](crate::GitServer).
    ///
    /// # Errors
    /// `sshd` or `ssh-keygen` is not installed, or `sshd` refuses the settings; the error holds what it says.
    pub async fn start(root: &Path, settings: &Settings) -> Result<Self> {
        let sshd = tools::sshd()?;
        let id = async |flag| -> Result<String> {
            let mut command = Command::new("id");
            command.arg(flag);
            Ok(String::from_utf8(process::output(command).await?)?.trim().to_owned())
        };
        let user = id("-un").await?;
        if id("-u").await? == "0" {
            fs::create_dir_all("/run/sshd").context("creating /run/sshd, which sshd needs when root runs it")?;
        }
        let folder = tempfile::Builder::new().prefix("testbed-ssh-").tempdir()?;
        let client_key = Key::generate(&["-t", "ed25519"]).await?;
        fs::write(folder.path().join("authorized_keys"), format!("{}\n", client_key.public))?;
        let host_keys = match settings.host_keys.as_slice() {
            [] => vec![Key::generate(&["-t", "ed25519"]).await?],
            keys => keys.to_vec(),
        };
        fs::write(folder.path().join("serve.sh"), include_str!("ssh_server/serve.sh"))?;
        let mut lines = settings.config.clone();
        for (number, key) in host_keys.iter().enumerate() {
            lines.extend(key.install(folder.path(), &format!("host_{number}"))?);
        }
        lines.extend(lines_of(folder.path(), root, settings));

        ports::retry_in_use(async || {
            let port = ports::free()?;
            let path = folder.path().join("sshd_config");
            fs::write(&path, format!("{}\nPort {port}\n", lines.join("\n")))?;
            let mut command = Command::new(&sshd);
            command.args(["-D", "-e", "-f"]).arg(&path);
            let mut process = Process::start(&command, &folder.path().join("sshd.log"))?;
            process.ready(READY, async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await?;
            Ok((port, process))
        })
        .await
        .map(|(port, process)| Self { port, user, client_key, host_keys, process, folder })
    }

    /// The clone address of the repository `owner/name`.
    ///
    /// # Errors
    /// The name does not fit into a URL.
    pub fn url(&self, repo: &str) -> Result<Url> {
        self.url_at(self.port, repo)
    }

    /// As [`SshServer::url`], through something that listens on another port, such as a
    /// [`TcpProxy`](crate::TcpProxy).
    ///
    /// # Errors
    /// The name does not fit into a URL.
    pub fn url_at(&self, port: u16, repo: &str) -> Result<Url> {
        Ok(Url::parse(&format!("ssh://{}@127.0.0.1:{port}/{repo}.git", self.user))?)
    }

    /// The server's own keys, as lines of a `known_hosts` file.
    pub fn known_hosts(&self) -> String {
        self.known_hosts_at(self.port)
    }

    /// As [`SshServer::known_hosts`], for another port.
    pub fn known_hosts_at(&self, port: u16) -> String {
        self.host_keys.iter().map(|key| format!("[127.0.0.1]:{port} {}\n", key.public)).collect()
    }

    /// Lets one more key in, from now on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn authorize(&self, key: &Key) -> Result<()> {
        let path = self.folder.path().join("authorized_keys");
        let keys = fs::read_to_string(&path)?;
        Ok(fs::write(&path, format!("{keys}{}\n", key.public))?)
    }

    /// How often somebody has tried to log in with a key so far, with or without success.
    ///
    /// # Errors
    /// The server's log cannot be read.
    pub fn logins(&self) -> Result<usize> {
        let ends = ["Accepted publickey for ", "Failed publickey for "];
        Ok(self.process.log()?.lines().filter(|line| ends.iter().any(|end| line.starts_with(end))).count())
    }

    /// How many connections were made so far.
    ///
    /// # Errors
    /// The server's log cannot be read.
    pub fn connections(&self) -> Result<usize> {
        // One more is made to see that the server is up.
        let made = self.process.log()?.lines().filter(|line| line.starts_with("Connection from ")).count();
        Ok(made.saturating_sub(1))
    }

    /// What the server has written to its log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }
}

fn lines_of(folder: &Path, root: &Path, settings: &Settings) -> Vec<String> {
    let (mode, bytes) = match settings.serve {
        Serve::Git => ("git", 0),
        Serve::EndAfter(bytes) => ("end", bytes),
        Serve::HangAfter(bytes) => ("hang", bytes),
        Serve::NoiseBefore(bytes) => ("before", bytes),
        Serve::NoiseMeanwhile(bytes) => ("meanwhile", bytes),
    };
    let path = |path: &Path| path.display().to_string();
    let mut lines = vec![
        "ListenAddress 127.0.0.1".to_owned(),
        format!("PidFile {}", path(&folder.join("sshd.pid"))),
        format!("AuthorizedKeysFile {}", path(&folder.join("authorized_keys"))),
        format!("ForceCommand bash '{}' '{}' {mode} {bytes}", path(&folder.join("serve.sh")), path(root)),
    ];
    if settings.git_protocol {
        lines.push("AcceptEnv GIT_PROTOCOL".to_owned());
    }
    // A folder for temporary files is open to all, which strict modes do not allow.
    let fixed = [
        "StrictModes no",
        // A shell that sshd starts reads its user's ~/.bashrc, unless it seems to be within another.
        "SetEnv SHLVL=1",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "UseDNS no",
        "LogLevel VERBOSE",
        "MaxStartups 100",
    ];
    lines.extend(fixed.map(str::to_owned));
    lines
}
