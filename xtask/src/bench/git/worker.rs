//! A process that promotes when it is told to, so that its memory is that of the git module alone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use promote_pr::BranchName;
use promote_pr::edit;
use promote_pr::git::{Author, Change, Git, Limits, Pushed, Remote, SshIdentity};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::repository;

/// The repository, and how it is reached.
#[derive(Clone, Serialize, Deserialize)]
pub struct Config {
    pub url: String,
    pub access: Access,
    pub cache: PathBuf,
}

/// What lets us in.
#[derive(Clone, Serialize, Deserialize)]
pub enum Access {
    Https { ca: String, token: String },
    Ssh { private_key: String, known_hosts: String },
}

/// The process, seen from outside. It ends when this is dropped.
pub struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    pub fn start(file: &Path, config: &Config) -> anyhow::Result<Self> {
        std::fs::write(file, serde_json::to_vec(config)?)?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["bench", "git", "--worker"])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (input, output) = input.zip(output).context("no pipes")?;
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    /// How long one promotion takes.
    pub fn promote(&mut self, app: usize, branch: &str) -> anyhow::Result<Duration> {
        self.ask(&format!("{app} 1 {branch}")).map(Duration::from_micros)
    }

    /// How long so many promotions take together.
    pub fn many(&mut self, count: usize, branch: &str) -> anyhow::Result<Duration> {
        self.ask(&format!("0 {count} {branch}")).map(Duration::from_micros)
    }

    /// The most memory that the process had so far, in KiB.
    pub fn peak(&mut self) -> anyhow::Result<u64> {
        self.ask("peak")
    }

    /// Ends the process, and says its peak memory.
    pub fn stop(mut self) -> anyhow::Result<u64> {
        self.peak()
    }

    fn ask(&mut self, line: &str) -> anyhow::Result<u64> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        answer.trim().parse().with_context(|| format!("the measured process ended, or said {answer:?}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The process itself.
pub fn serve(config: &Path) -> anyhow::Result<()> {
    let config: Config = serde_json::from_slice(&std::fs::read(config)?)?;
    let remote = remote(&config)?;
    let guard = egress::Guard { allow: vec!["127.0.0.0/8".parse()?], ..egress::Guard::default() };
    let egress = egress::Egress::new(egress::Policy { guard, ..egress::Policy::default() })?;
    let git = Git::new(egress, config.cache, Limits::default());
    let runtime = tokio::runtime::Runtime::new()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
            ["peak"] => peak()?,
            [app, "1", branch] => {
                let started = Instant::now();
                runtime.block_on(promote(git.clone(), remote.clone(), app.parse()?, (*branch).to_owned()))?;
                u64::try_from(started.elapsed().as_micros())?
            }
            [_, count, branch] => {
                let started = Instant::now();
                let tasks: Vec<_> = (0..count.parse()?)
                    .map(|app| runtime.spawn(promote(git.clone(), remote.clone(), app, format!("{branch}/{app}"))))
                    .collect();
                for task in tasks {
                    runtime.block_on(task)??;
                }
                u64::try_from(started.elapsed().as_micros())?
            }
            _ => bail!("{line:?} is no task"),
        };
        println!("{answer}");
    }
    Ok(())
}

fn remote(config: &Config) -> anyhow::Result<Remote> {
    let mut remote = Remote {
        url: config.url.parse()?,
        identity: egress::Identity::default(),
        username: None,
        password: None,
        ssh: None,
    };
    match &config.access {
        Access::Https { ca, token } => {
            remote.identity.ca = Some(ca.clone().into_bytes());
            remote.username = Some("x-access-token".to_owned());
            remote.password = Some(SecretString::from(token.clone()));
        }
        Access::Ssh { private_key, known_hosts } => {
            let (private_key, known_hosts) = (SecretString::from(private_key.clone()), known_hosts.clone());
            remote.ssh = Some(SshIdentity { private_key, passphrase: None, known_hosts });
        }
    }
    Ok(remote)
}

/// What a promotion does with git, from the look at the repository to the pushed branch.
async fn promote(git: Git, remote: Remote, app: usize, branch: String) -> anyhow::Result<()> {
    let main: BranchName = "main".parse()?;
    let head: BranchName = branch.parse()?;
    let (snapshot, heads) = git.fetch_and_list(&remote, &main, &branch).await?;
    ensure!(heads.is_empty(), "{branch} is there already");
    let found = snapshot.files_containing(b"$promotion").await?;
    let files = found.files.iter().map(|(path, content)| edit::File { path, content });
    let target = edit::Target::Marker(repository::marker(repository::marked(app)));
    let edited = edit::edit(files, &[edit::Update::new(target, "2.0.0")], &edit::Limits::default());
    let files: Vec<_> = edited.files.iter().map(|file| (file.path.as_str(), file.content.as_slice())).collect();
    let author = Author { name: "Bot".to_owned(), email: "bot@example.com".to_owned() };
    #[expect(clippy::disallowed_methods, reason = "a commit carries the time at which it is made")]
    let when = jiff::Timestamp::now();
    let change = Change { files: &files, message: "Promote", author: &author, committer: None, signing: None, when };
    let pushed = git.commit_and_push(&remote, &snapshot, change, &head, None).await?;
    ensure!(matches!(pushed, Pushed::Done(_)), "{branch}: {pushed:?}");
    Ok(())
}

/// The most memory that this process had, in KiB.
fn peak() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
