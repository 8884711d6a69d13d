//! What GitHub itself says that a request looks like: its
//! [OpenAPI descriptions](https://github.com/github/rest-api-description) in [Prism](https://github.com/stoplightio/prism),
//! and its GraphQL schema in graphql-js. Both are installed by npm, once, into the [`cache_folder`](tools::cache_folder).

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tempfile::{NamedTempFile, TempDir};
use url::Url;

use crate::{ports, process::Process, tools};

/// How long npm may take for half a gigabyte.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How long Prism takes on a busy machine until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(120);

const PACKAGE: &str = include_str!("../tools/github/package.json");
const LOCK: &str = include_str!("../tools/github/package-lock.json");
const TRIM: &str = include_str!("../tools/github/trim.mjs");
const GRAPHQL: &str = include_str!("../tools/github/graphql.mjs");

/// One of GitHub's descriptions of its REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Description {
    /// github.com
    GitHub,
    /// Enterprise Server 3.17
    Server317,
    /// Enterprise Server 3.19
    Server319,
}

impl Description {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::GitHub, Self::Server317, Self::Server319];

    fn file(self) -> &'static str {
        match self {
            Self::GitHub => "api.github.com.json",
            Self::Server317 => "ghes-3.17.json",
            Self::Server319 => "ghes-3.19.json",
        }
    }
}

/// A server that answers a request with an example if the description allows it, else with 4xx and what is wrong.
///
/// It knows of no state, takes `application/json` only, and sees a reference as one segment of a path.
pub struct Prism {
    /// `http://127.0.0.1:<port>/`
    pub url: Url,
    _process: Process,
    _folder: TempDir,
}

/// Whether Node and npm are there, without which nothing here works.
pub fn is_available() -> bool {
    tools::installed("node").is_some() && tools::installed("npm").is_some()
}

impl Prism {
    /// Starts Prism on a description.
    ///
    /// # Errors
    /// npm cannot install it, or it does not start.
    pub async fn start(description: Description) -> Result<Self> {
        let tools = installed().await?;
        let folder = tempfile::tempdir()?;
        let (url, process) = ports::retry_in_use(async || {
            let port = ports::free()?;
            let url: Url = format!("http://127.0.0.1:{port}/").parse()?;
            let mut command = Command::new(tools.join("node_modules/.bin/prism"));
            command.args(["mock", "--errors", "--host", "127.0.0.1", "--port", &port.to_string()]);
            command.arg(tools.join(description.file())).current_dir(&tools);
            let mut process = Process::start(&command, &folder.path().join(format!("prism-{port}.log")))?;
            let address = format!("127.0.0.1:{port}");
            process.ready(START_TIMEOUT, async || tokio::net::TcpStream::connect(&address).await.is_ok()).await?;
            Ok((url, process))
        })
        .await?;
        Ok(Self { url, _process: process, _folder: folder })
    }
}

/// Checks GraphQL requests, each a JSON object with `query` and `variables`, against GitHub's schema.
///
/// # Errors
/// What is wrong with them.
pub async fn check_graphql(requests: &[Vec<u8>]) -> Result<()> {
    let tools = installed().await?;
    let mut input = NamedTempFile::new()?;
    for request in requests {
        let line: serde_json::Value = serde_json::from_slice(request).context("a GraphQL request is JSON")?;
        writeln!(input, "{line}")?;
    }
    let mut command = Command::new("sh");
    command.arg("-c").arg("exec node graphql.mjs < \"$1\"").arg("sh").arg(input.path()).current_dir(&tools);
    let log = NamedTempFile::new()?;
    let mut process = Process::start(&command, log.path())?;
    match process.wait(START_TIMEOUT).await? {
        0 => Ok(()),
        _ => bail!("GitHub's GraphQL schema does not allow the requests:\n{}", process.log_tail()),
    }
}

/// The folder with the programs and descriptions, installed when they are not there.
async fn installed() -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    [PACKAGE, LOCK, TRIM, GRAPHQL].hash(&mut hasher);
    let root = tools::cache_folder()?.join("tools");
    let folder = root.join(format!("github-{:016x}", hasher.finish()));
    if folder.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
    let _lock = tools::lock(&root.join("github.lock")).await?;
    if folder.exists() {
        return Ok(folder);
    }
    let work = tempfile::Builder::new().prefix(".github-").tempdir_in(&root)?;
    for (name, text) in
        [("package.json", PACKAGE), ("package-lock.json", LOCK), ("trim.mjs", TRIM), ("graphql.mjs", GRAPHQL)]
    {
        fs::write(work.path().join(name), text)?;
    }
    tools::say(&format!(
        "test bed: installing Prism and GitHub's descriptions into {}, this once; npm loads 100 MB …",
        folder.display()
    ));
    run(work.path(), "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).await?;
    let generated = work.path().join("node_modules/@octokit/openapi/generated");
    for description in Description::ALL {
        let from = generated.join(description.file());
        run(work.path(), "node", &["trim.mjs", &from.to_string_lossy(), description.file()]).await?;
    }
    // 390 MB of which a megabyte is kept.
    fs::remove_dir_all(&generated)?;
    fs::rename(work.path(), &folder).with_context(|| format!("moving the tools to {}", folder.display()))?;
    Ok(folder)
}

async fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    let log = NamedTempFile::new()?;
    let mut process = Process::start(&command, log.path())?;
    match process.wait(INSTALL_TIMEOUT).await? {
        0 => Ok(()),
        _ => bail!("`{program} {}` failed:\n{}", arguments.join(" "), process.log_tail()),
    }
}
