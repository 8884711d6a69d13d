//! A bare repository, looked at and changed with the real git.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use anyhow::{Context as _, Result, bail};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// A bare repository of a [`GitServer`](super::GitServer). It outlives neither the server nor its folder.
#[derive(Clone, Debug)]
pub struct RepoHandle {
    /// `owner/name`
    pub name: String,
    /// The bare repository's folder.
    pub path: PathBuf,
}

/// A commit as [`RepoHandle::log`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Its parents' ids.
    pub parents: Vec<String>,
    /// `Name <address>`
    pub author: String,
    /// The whole message.
    pub message: String,
}

/// A change of one path in a commit.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A regular file with this path and content.
    Write(&'a str, &'a [u8]),
    /// A symbolic link with this path and target.
    Symlink(&'a str, &'a str),
    /// A submodule with this path at this commit.
    Submodule(&'a str, &'a str),
    /// The path is gone.
    Delete(&'a str),
}

/// A [server-side hook](https://git-scm.com/docs/githooks) that can refuse a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Refuses the push as a whole.
    PreReceive,
    /// Refuses each ref for itself.
    Update,
}

/// As on the big hosts, as far as a client can tell; and no process stays behind a push.
const CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
[http]
\treceivepack = true
[receive]
\tfsckObjects = true
\tautogc = false
[uploadpack]
\tallowFilter = true
\tallowReachableSHA1InWant = true
[gc]
\tauto = 0
[user]
\tname = Test Bed
\temail = testbed@example.com
";

/// What [`RepoHandle::merge_tree`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MergeTree {
    Clean(String),
    Conflict,
}

impl RepoHandle {
    pub(super) async fn create(root: &Path, name: &str) -> Result<Self> {
        let repo = Self { name: name.to_owned(), path: root.join(format!("{name}.git")) };
        if repo.path.exists() {
            bail!("there is a repository {name} already");
        }
        std::fs::create_dir_all(&repo.path)?;
        repo.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]).await?;
        std::fs::write(repo.path.join("config"), CONFIG)?;
        Ok(repo)
    }

    pub(crate) fn open(root: &Path, name: &str) -> Result<Self> {
        let path = root.join(format!("{name}.git"));
        let inside = !name.split('/').any(|part| matches!(part, "" | "." | ".."));
        if !inside || !path.join("HEAD").is_file() {
            bail!("there is no repository {name}");
        }
        Ok(Self { name: name.to_owned(), path })
    }

    /// Runs git in the repository and returns what it prints.
    ///
    /// # Errors
    /// It fails; the error holds what it says.
    pub async fn git(&self, args: &[&str]) -> Result<String> {
        git(&self.path, args).await
    }

    /// The id that a revision stands for.
    ///
    /// # Errors
    /// There is no such revision.
    pub async fn rev_parse(&self, rev: &str) -> Result<String> {
        Ok(self.git(&["rev-parse", "--verify", "--quiet", rev]).await?.trim_end().to_owned())
    }

    /// The commits of a revision or range, newest first.
    ///
    /// # Errors
    /// There is no such revision.
    pub async fn log(&self, range: &str) -> Result<Vec<Commit>> {
        let text = self.git(&["log", "-z", "--format=%H%x1f%P%x1f%an <%ae>%x1f%B", range, "--"]).await?;
        let commit = |entry: &str| {
            let mut parts = entry.splitn(4, '\u{1f}').map(ToOwned::to_owned);
            Some(Commit {
                id: parts.next()?,
                parents: parts.next()?.split_whitespace().map(ToOwned::to_owned).collect(),
                author: parts.next()?,
                message: parts.next()?,
            })
        };
        text.split('\0').filter(|entry| !entry.is_empty()).map(|entry| commit(entry).context("git log")).collect()
    }

    /// The content at `revision:path`.
    ///
    /// # Errors
    /// There is none.
    pub async fn show(&self, object: &str) -> Result<Vec<u8>> {
        Ok(checked(&self.path, &["cat-file", "blob", object], None).await?.stdout)
    }

    /// The unified difference between two revisions.
    ///
    /// # Errors
    /// One of them is not there.
    pub async fn diff(&self, from: &str, to: &str) -> Result<String> {
        self.git(&["diff", "--no-color", "--no-ext-diff", "--no-renames", from, to, "--"]).await
    }

    /// All branches and their tips.
    pub async fn branches(&self) -> Result<BTreeMap<String, String>> {
        let text = self.git(&["for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads"]).await?;
        Ok(text.lines().filter_map(|line| line.split_once(' ')).map(|(id, name)| (name.into(), id.into())).collect())
    }

    /// Commits these files on top of the branch, or as its first commit, and returns the commit's id: somebody else's
    /// push.
    ///
    /// # Errors
    /// git refuses a path or the branch's name.
    pub async fn commit<C: AsRef<[u8]>>(&self, branch: &str, files: &[(&str, C)], message: &str) -> Result<String> {
        let changes: Vec<_> = files.iter().map(|(path, content)| Change::Write(path, content.as_ref())).collect();
        self.commit_changes(branch, &changes, message).await
    }

    /// As [`RepoHandle::commit`], with any kind of change.
    ///
    /// # Errors
    /// git refuses a path or the branch's name.
    pub async fn commit_changes(&self, branch: &str, changes: &[Change<'_>], message: &str) -> Result<String> {
        let tip = self.branches().await?.remove(branch);
        let input = import(branch, tip.as_deref(), changes, message)?;
        checked(&self.path, &["fast-import", "--quiet", "--date-format=now"], Some(&input)).await?;
        self.rev_parse(&format!("refs/heads/{branch}")).await
    }

    /// Makes `branch` point to a revision, whatever it pointed to.
    ///
    /// # Errors
    /// There is no such revision.
    pub async fn set_branch(&self, branch: &str, rev: &str) -> Result<()> {
        self.git(&["branch", "--force", branch, rev]).await.map(drop)
    }

    /// Deletes a branch.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn delete_branch(&self, branch: &str) -> Result<()> {
        self.git(&["branch", "--quiet", "-D", branch]).await.map(drop)
    }

    /// Checks every object with `git fsck --strict --full`.
    ///
    /// # Errors
    /// Something is wrong, and git says what.
    pub async fn fsck(&self) -> Result<()> {
        self.git(&["fsck", "--strict", "--full", "--no-progress"]).await.map(drop)
    }

    /// Lets a hook refuse every push with this text.
    ///
    /// # Errors
    /// The hook cannot be written.
    pub fn refuse_pushes(&self, hook: Hook, text: &str) -> Result<()> {
        let path = self.hook(hook);
        std::fs::create_dir_all(self.path.join("hooks"))?;
        std::fs::write(&path, format!("#!/bin/sh\ncat >&2 <<'END OF TEXT'\n{text}\nEND OF TEXT\nexit 1\n"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Removes the hooks of [`RepoHandle::refuse_pushes`].
    pub fn accept_pushes(&self) {
        for hook in [Hook::PreReceive, Hook::Update] {
            std::fs::remove_file(self.hook(hook)).ok();
        }
    }

    fn hook(&self, hook: Hook) -> PathBuf {
        self.path.join("hooks").join(match hook {
            Hook::PreReceive => "pre-receive",
            Hook::Update => "update",
        })
    }

    pub(crate) async fn is_ancestor(&self, ancestor: &str, of: &str) -> Result<bool> {
        let args = ["merge-base", "--is-ancestor", ancestor, of];
        let output = run(&self.path, &args, None).await?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(failure(&args, &output)),
        }
    }

    /// The tree of a merge, with the [`merge-tree`](https://git-scm.com/docs/git-merge-tree) of git 2.38 or later.
    pub(crate) async fn merge_tree(&self, base: &str, head: &str) -> Result<MergeTree> {
        let args = ["merge-tree", "--write-tree", "--no-messages", base, head];
        let output = run(&self.path, &args, None).await?;
        match output.status.code() {
            Some(0) => Ok(MergeTree::Clean(String::from_utf8(output.stdout)?.trim_end().to_owned())),
            Some(1) => Ok(MergeTree::Conflict),
            _ => Err(failure(&args, &output)),
        }
    }
}

/// The input of [`git fast-import`](https://git-scm.com/docs/git-fast-import) for one commit.
fn import(branch: &str, tip: Option<&str>, changes: &[Change<'_>], message: &str) -> Result<Vec<u8>> {
    let mut head = format!("commit refs/heads/{branch}\ncommitter Test Bed <testbed@example.com> now\n");
    write!(head, "data {}\n{message}\n", message.len())?;
    if let Some(tip) = tip {
        writeln!(head, "from {tip}")?;
    }
    let mut input = head.into_bytes();
    let mut line = |text: String, content: Option<&[u8]>| {
        input.extend_from_slice(text.as_bytes());
        input.push(b'\n');
        if let Some(content) = content {
            input.extend_from_slice(format!("data {}\n", content.len()).as_bytes());
            input.extend_from_slice(content);
            input.push(b'\n');
        }
    };
    for change in changes {
        match change {
            Change::Write(path, content) => line(format!("M 100644 inline {}", quoted(path)), Some(content)),
            Change::Symlink(path, target) => {
                line(format!("M 120000 inline {}", quoted(path)), Some(target.as_bytes()));
            }
            Change::Submodule(path, commit) => line(format!("M 160000 {commit} {}", quoted(path)), None),
            Change::Delete(path) => line(format!("D {}", quoted(path)), None),
        }
    }
    Ok(input)
}

fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

pub(super) async fn git(folder: &Path, args: &[&str]) -> Result<String> {
    let output = checked(folder, args, None).await?;
    String::from_utf8(output.stdout).with_context(|| format!("git {} printed no UTF-8", args.join(" ")))
}

async fn checked(folder: &Path, args: &[&str], input: Option<&[u8]>) -> Result<Output> {
    let output = run(folder, args, input).await?;
    if output.status.success() { Ok(output) } else { Err(failure(args, &output)) }
}

fn failure(args: &[&str], output: &Output) -> anyhow::Error {
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::anyhow!("git {} ended with {}: {}", args.join(" "), output.status, said.trim_end())
}

async fn run(folder: &Path, args: &[&str], input: Option<&[u8]>) -> Result<Output> {
    let mut command = Command::new("git");
    isolate(&mut command);
    let mut child = command
        .args(args)
        .current_dir(folder)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting git, which has to be on PATH")?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // When git ends early, its status and its words say more than a broken pipe.
        stdin.write_all(input).await.ok();
    }
    Ok(child.wait_with_output().await?)
}

/// Keeps the user's and the machine's git settings out, and those of a git hook that the tests may run under.
pub(super) fn isolate(command: &mut Command) {
    const INHERITED: [&str; 6] = [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
    ];
    for name in INHERITED {
        command.env_remove(name);
    }
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", OsStr::new("/dev/null"))
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C");
}
