//! A real Gitea: the git host with pull requests that needs nothing from outside.

mod settings;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

use crate::{
    ca::Ca,
    control_plane::{answers, fresh_log},
    ports,
    process::{Process, output},
    tools::Tools,
    unique,
};

/// How long the server may take until it can be used, on a machine that is busy with other things.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long Gitea's background work, such as finding out whether a pull request can be merged, may take.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// `admin` itself is a reserved name.
const ADMIN: &str = "testbed";

/// A running Gitea over TLS, and its administrator's log-in.
///
/// Its API answers as [Gitea's documentation](https://docs.gitea.com/api/1.26/) says. Gitea takes note of a push after
/// the push has ended: a branch that git shows may be unknown to the API for a few seconds.
#[derive(Debug, Deserialize, Serialize)]
pub struct Gitea {
    /// The server's address, which ends with a slash.
    pub url: Url,
    /// The administrator, who owns the repositories of [`Gitea::create_repo`].
    pub username: String,
    /// The administrator's password.
    pub password: String,
    /// The administrator's token, good for everything.
    pub token: String,
    ca: PathBuf,
    repositories: PathBuf,
    #[serde(skip)]
    process: Option<Process>,
}

/// A repository in Gitea.
#[derive(Clone, Debug)]
pub struct Repo {
    /// The user that owns it.
    pub owner: String,
    /// Its name, unique in the bed.
    pub name: String,
    /// Its address for git over HTTPS, without credentials.
    pub clone_url: Url,
    /// The bare repository itself.
    pub folder: PathBuf,
}

/// A pull request as Gitea shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Pull {
    /// Its number within the repository.
    pub number: u64,
    /// `open` or `closed`; a merged one is closed.
    pub state: String,
    /// Whether it was merged.
    pub merged: bool,
    /// Title.
    pub title: String,
    /// Description.
    pub body: String,
    /// The branch to merge into.
    pub base: PullBranch,
    /// The branch to merge.
    pub head: PullBranch,
    /// Its page.
    pub html_url: Url,
    /// The commit that merged it.
    pub merge_commit_sha: Option<String>,
}

/// One side of a [`Pull`].
#[derive(Clone, Debug, Deserialize)]
pub struct PullBranch {
    /// The branch's name; of a deleted head branch, `refs/pull/<number>/head`.
    #[serde(rename = "ref")]
    pub name: String,
    /// The commit at its tip.
    pub sha: String,
}

/// A user with fewer rights than the administrator's.
#[derive(Clone, Debug)]
pub struct User {
    /// Log-in name.
    pub username: String,
    /// Password, for git and for basic authentication.
    pub password: String,
    /// A token with the scopes that were asked for.
    pub token: String,
}

impl Gitea {
    /// Starts Gitea with everything that it writes under `folder`.
    pub(crate) async fn start(tools: &Tools, ca: &Ca, folder: &Path) -> Result<Self> {
        let repositories = folder.join("repositories");
        fs::create_dir_all(&repositories)?;
        let http = ca.http_client()?;
        let (url, process) = ports::retry_in_use(async || {
            let port = ports::free()?;
            let url: Url = format!("https://127.0.0.1:{port}/").parse()?;
            fs::write(folder.join("app.ini"), settings::app_ini(tools, ca, folder, port))?;
            let mut command = command(&tools.gitea, folder);
            command.arg("web");
            let mut process = Process::start(&command, &fresh_log(folder, "gitea.log")?)?;
            let health = url.join("api/healthz")?;
            process.ready(START_TIMEOUT, async || answers(http.get(health.clone())).await).await?;
            Ok((url, process))
        })
        .await?;

        let password = unique();
        let mut create = command(&tools.gitea, folder);
        create
            .args(["admin", "user", "create", "--admin", "--must-change-password=false", "--access-token"])
            .args(["--access-token-scopes", "all", "--email", "testbed@example.com"])
            .args(["--username", ADMIN, "--password", &password]);
        let printed = String::from_utf8(output(create).await?)?;
        let token = printed
            .split(|c: char| !c.is_ascii_hexdigit())
            .find(|word| word.len() == 40)
            .with_context(|| format!("Gitea printed no token for its administrator: {printed}"))?;
        Ok(Self {
            url,
            username: ADMIN.into(),
            password,
            token: token.into(),
            ca: ca.folder().into(),
            repositories,
            process: Some(process),
        })
    }

    /// Creates a repository whose name begins with `prefix` and which nobody else has. Its branch `main` has one commit
    /// that holds `files` (path, content).
    pub async fn create_repo(&self, prefix: &str, files: &[(&str, &str)]) -> Result<Repo> {
        let name = format!("{prefix}-{}", unique());
        let settings = json!({"name": name, "default_branch": "main", "private": true});
        self.expect(Method::POST, "user/repos", Some(&settings)).await?;
        let owner = self.username.clone();
        let repo = Repo {
            clone_url: self.url.join(&format!("{owner}/{name}.git"))?,
            folder: self.repositories.join(&owner).join(format!("{name}.git")),
            owner,
            name,
        };
        self.commit(&repo, "main", files, "Start the repository").await?;
        Ok(repo)
    }

    /// Commits `files` (path, whole new content) to a branch, as a person would on the host's pages.
    pub async fn commit(&self, repo: &Repo, branch: &str, files: &[(&str, &str)], message: &str) -> Result<()> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, content)| json!({"operation": "upload", "path": path, "content": BASE64_STANDARD.encode(content)}))
            .collect();
        let change = json!({"branch": branch, "message": message, "files": files});
        self.expect(Method::POST, &repo.path("contents"), Some(&change)).await?;
        Ok(())
    }

    /// All pull requests of a repository in any state, the newest first; at most fifty.
    pub async fn pulls(&self, repo: &Repo) -> Result<Vec<Pull>> {
        let pulls = self.expect(Method::GET, &repo.path("pulls?state=all&sort=newest&limit=50"), None).await?;
        parse(pulls)
    }

    /// One pull request.
    pub async fn pull(&self, repo: &Repo, number: u64) -> Result<Pull> {
        parse(self.expect(Method::GET, &repo.path(&format!("pulls/{number}")), None).await?)
    }

    /// Merges a pull request with a merge commit, as a person would; waits until Gitea knows that it can be merged.
    pub async fn merge(&self, repo: &Repo, number: u64) -> Result<()> {
        let path = repo.path(&format!("pulls/{number}/merge"));
        let start = Instant::now();
        loop {
            // 405: "Please try again later", while Gitea looks for conflicts.
            match self.api(Method::POST, &path, Some(&json!({"Do": "merge"}))).await? {
                (200, _) => return Ok(()),
                (405, _) if start.elapsed() < SETTLE_TIMEOUT => tokio::time::sleep(Duration::from_millis(100)).await,
                (status, answer) => bail!("merging pull request {number} of {}: {status} {answer}", repo.name),
            }
        }
    }

    /// Closes a pull request without merging it, as a person would.
    pub async fn close(&self, repo: &Repo, number: u64) -> Result<()> {
        let path = repo.path(&format!("pulls/{number}"));
        self.expect(Method::PATCH, &path, Some(&json!({"state": "closed"}))).await?;
        Ok(())
    }

    /// The texts of the comments on a pull request, the oldest first.
    pub async fn comments(&self, repo: &Repo, number: u64) -> Result<Vec<String>> {
        let comments = self.expect(Method::GET, &repo.path(&format!("issues/{number}/comments")), None).await?;
        let comments: Vec<Value> = parse(comments)?;
        Ok(comments.iter().filter_map(|comment| Some(comment.get("body")?.as_str()?.to_owned())).collect())
    }

    /// The names of all branches that Gitea knows; at most fifty.
    pub async fn branches(&self, repo: &Repo) -> Result<Vec<String>> {
        let branches: Vec<Value> = parse(self.expect(Method::GET, &repo.path("branches?limit=50"), None).await?)?;
        Ok(branches.iter().filter_map(|branch| Some(branch.get("name")?.as_str()?.to_owned())).collect())
    }

    /// The content of a file at the tip of a branch.
    pub async fn file(&self, repo: &Repo, branch: &str, path: &str) -> Result<String> {
        let answer = self.send(&self.token, Method::GET, &repo.path(&format!("raw/{path}?ref={branch}")), None).await?;
        let answer = answer.error_for_status().with_context(|| format!("reading {path} of {}", repo.name))?;
        Ok(answer.text().await?)
    }

    /// Deletes a branch.
    pub async fn delete_branch(&self, repo: &Repo, branch: &str) -> Result<()> {
        self.expect(Method::DELETE, &repo.path(&format!("branches/{branch}")), None).await?;
        Ok(())
    }

    /// Deletes a repository.
    pub async fn delete_repo(&self, repo: &Repo) -> Result<()> {
        self.expect(Method::DELETE, &format!("repos/{}/{}", repo.owner, repo.name), None).await?;
        Ok(())
    }

    /// Creates a user and a token with `scopes`, such as `write:repository`. The user may see nothing private before
    /// [`Gitea::add_collaborator`].
    pub async fn create_user_token(&self, scopes: &[&str]) -> Result<User> {
        let (username, password) = (format!("user-{}", unique()), unique());
        let email = format!("{username}@example.com");
        let user = json!({"username": username, "password": password, "email": email, "must_change_password": false});
        self.expect(Method::POST, "admin/users", Some(&user)).await?;
        let url = self.endpoint(&format!("users/{username}/tokens"))?;
        let request = Ca::load(&self.ca)?.http_client()?.post(url).basic_auth(&username, Some(&password));
        let answer = request.json(&json!({"name": "testbed", "scopes": scopes})).send().await?;
        let (status, answer) = (answer.status(), answer.json::<Value>().await?);
        let token = answer.get("sha1").and_then(Value::as_str);
        let token = token.with_context(|| format!("creating a token with the scopes {scopes:?}: {status} {answer}"))?;
        Ok(User { username, password, token: token.into() })
    }

    /// Gives a user a right on a repository: `read`, `write` or `admin`.
    pub async fn add_collaborator(&self, repo: &Repo, username: &str, permission: &str) -> Result<()> {
        let path = repo.path(&format!("collaborators/{username}"));
        self.expect(Method::PUT, &path, Some(&json!({"permission": permission}))).await?;
        Ok(())
    }

    /// Calls the API as the administrator: `path` is what follows `/api/v1/`. Answers the status and the body, null
    /// when there is none.
    pub async fn api(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let answer = self.send(&self.token, method, path, body).await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        Ok((status, body))
    }

    async fn expect(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        match self.api(method.clone(), path, body).await? {
            (200..=299, answer) => Ok(answer),
            (status, answer) => bail!("Gitea answered {method} {path} with {status}: {answer}"),
        }
    }

    async fn send(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> Result<reqwest::Response> {
        let client = Ca::load(&self.ca)?.http_client()?;
        let mut request = client.request(method.clone(), self.endpoint(path)?).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.with_context(|| format!("asking Gitea: {method} {path}"))
    }

    fn endpoint(&self, path: &str) -> Result<Url> {
        Ok(self.url.join("api/v1/")?.join(path)?)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }
}

impl Repo {
    /// Runs the real git on the bare repository and answers its standard output, byte by byte.
    ///
    /// # Errors
    /// When its exit code is not 0: the error holds its standard error.
    pub async fn git(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(&self.folder)
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("GIT_DIR");
        output(command).await
    }

    /// The commit that a revision names, such as a branch.
    pub async fn rev_parse(&self, revision: &str) -> Result<String> {
        let id = self.git(&["rev-parse", "--verify", &format!("{revision}^{{commit}}")]).await?;
        Ok(String::from_utf8(id)?.trim().to_owned())
    }

    fn path(&self, rest: &str) -> String {
        format!("repos/{}/{}/{rest}", self.owner, self.name)
    }
}

fn parse<T: DeserializeOwned>(answer: Value) -> Result<T> {
    serde_json::from_value(answer).context("reading Gitea's answer")
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(folder.join("app.ini"))
        .current_dir(folder)
        .env("GITEA_WORK_DIR", folder)
        .env("HOME", folder)
        // It refuses to run as root otherwise; it serves the loopback interface from a temporary folder here.
        .env("GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT", "true");
    command
}
