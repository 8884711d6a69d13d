//! HTTP to `git http-backend` and back, over [CGI](https://www.rfc-editor.org/rfc/rfc3875).

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use futures::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{ChildStdout, Command},
};

use super::{
    PASSWORD, Step, TOKEN, USERNAME,
    repo::{RepoHandle, git},
};
use crate::{
    faults::Answer,
    https::{Body, Service, full, lock, streamed},
    recorded::Route,
};

pub(crate) struct Backend {
    program: PathBuf,
    root: PathBuf,
    token: Mutex<String>,
    v0_only: Mutex<HashSet<String>>,
}

impl Backend {
    pub(super) async fn new(root: &Path) -> Result<Self> {
        let exec_path = git(root, &["--exec-path"]).await?;
        let program = Path::new(exec_path.trim()).join("git-http-backend");
        if !program.exists() {
            bail!("{} is missing: install all of git", program.display());
        }
        Ok(Self { program, root: root.to_owned(), token: Mutex::new(TOKEN.to_owned()), v0_only: Mutex::default() })
    }

    pub(crate) fn set_token(&self, token: &str) {
        token.clone_into(&mut lock(&self.token));
    }

    pub(super) fn set_protocol_v0_only(&self, repo: &str, only: bool) {
        let mut repos = lock(&self.v0_only);
        if only {
            repos.insert(repo.to_owned())
        } else {
            repos.remove(repo)
        };
    }

    fn authorized(&self, head: &Parts) -> bool {
        let credentials = head.headers.get(header::AUTHORIZATION).and_then(|value| {
            let encoded = value.to_str().ok()?.strip_prefix("Basic ")?;
            String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
        });
        credentials.as_deref().and_then(|pair| pair.split_once(':')).is_some_and(|(username, password)| {
            password == *lock(&self.token) || (username, password) == (USERNAME, PASSWORD)
        })
    }

    async fn run(&self, head: &Parts, path: &GitPath, body: Body) -> Result<Response<Body>> {
        let mut command = Command::new(&self.program);
        super::repo::isolate(&mut command);
        command
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REMOTE_USER", USERNAME)
            .env("REMOTE_ADDR", "127.0.0.1")
            .env("REQUEST_METHOD", head.method.as_str())
            .env("PATH_INFO", format!("/{}.git/{}", path.repo, path.file))
            .env("QUERY_STRING", head.uri.query().unwrap_or_default());
        for (variable, name) in [
            ("CONTENT_TYPE", header::CONTENT_TYPE),
            ("CONTENT_LENGTH", header::CONTENT_LENGTH),
            ("HTTP_CONTENT_ENCODING", header::CONTENT_ENCODING),
            ("GIT_PROTOCOL", HeaderName::from_static("git-protocol")),
        ] {
            let hidden = variable == "GIT_PROTOCOL" && lock(&self.v0_only).contains(&path.repo);
            match head.headers.get(&name).and_then(|value| value.to_str().ok()).filter(|_| !hidden) {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());

        // A request that has come completely takes effect even when its client is gone: this task does not depend on
        // the connection.
        tokio::spawn(async move {
            let mut chunks = body.into_data_stream();
            if let Some(mut stdin) = stdin {
                while let Some(chunk) = chunks.next().await {
                    match chunk {
                        Ok(chunk) => {
                            if stdin.write_all(&chunk).await.is_err() {
                                break;
                            }
                        }
                        Err(_) => {
                            child.start_kill().ok();
                            break;
                        }
                    }
                }
            }
            if let Ok(output) = child.wait_with_output().await {
                tracing::debug!(status = %output.status, stderr = %String::from_utf8_lossy(&output.stderr), "http-backend ended");
            }
        });
        answer(BufReader::new(stdout.context("no standard output")?)).await
    }
}

/// A [CGI response](https://www.rfc-editor.org/rfc/rfc3875#section-6): headers, one of which may be `Status`, then the
/// body.
async fn answer(mut stdout: BufReader<ChildStdout>) -> Result<Response<Body>> {
    let mut response = Response::new(());
    loop {
        let mut line = String::new();
        if stdout.read_line(&mut line).await? == 0 {
            bail!("http-backend ended before its headers did");
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            *response.status_mut() = StatusCode::from_bytes(value.as_bytes().get(..3).unwrap_or_default())?;
        } else {
            response.headers_mut().insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
    }
    Ok(response.map(|()| {
        streamed(stream::try_unfold(stdout, |mut stdout| async move {
            let mut chunk = BytesMut::with_capacity(16 * 1024);
            let read = stdout.read_buf(&mut chunk).await?;
            Ok((read > 0).then(|| (chunk.freeze(), stdout)))
        }))
    }))
}

impl Service for Backend {
    type Step = Step;
    const RECORD_BODIES: bool = false;

    fn route(&self, head: &Parts) -> Route<Step> {
        let path = GitPath::parse(head.uri.path());
        let step = path.as_ref().and_then(|path| path.step(head));
        Route { repo: path.map(|path| path.repo), step, authorized: self.authorized(head) }
    }

    async fn respond(&self, head: Parts, body: Body) -> Response<Body> {
        let refuse = |status| {
            let Answer { status, headers, body } = Answer::text(status);
            let mut response = Response::new(full(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        };
        if !self.authorized(&head) {
            body.collect().await.ok();
            return refuse(StatusCode::UNAUTHORIZED);
        }
        let path = GitPath::parse(head.uri.path());
        let Some(path) = path.filter(|path| RepoHandle::open(&self.root, &path.repo).is_ok()) else {
            return refuse(StatusCode::NOT_FOUND);
        };
        self.run(&head, &path, body).await.unwrap_or_else(|error| {
            tracing::error!(%error, "http-backend failed");
            refuse(StatusCode::INTERNAL_SERVER_ERROR)
        })
    }
}

/// `/owner/name.git/file`, decoded; `.git` may be left out. Also with `/scm` in front, as on Bitbucket Data Center, and as
/// [`/collection/owner/_git/name`](https://learn.microsoft.com/en-us/azure/devops/repos/git/clone), as on Azure DevOps.
#[derive(Debug, PartialEq, Eq)]
struct GitPath {
    repo: String,
    file: &'static str,
}

impl GitPath {
    fn parse(path: &str) -> Option<Self> {
        let path = percent_decode_str(path).decode_utf8().ok()?;
        ["info/refs", "git-upload-pack", "git-receive-pack"].into_iter().find_map(|file| {
            let repo = path.strip_prefix('/')?.strip_suffix(file)?.strip_suffix('/')?;
            let repo = repo.strip_prefix("scm/").unwrap_or(repo);
            let repo = match repo.split_once("/_git/") {
                Some((parents, name)) => format!("{}/{name}", parents.rsplit('/').next().unwrap_or_default()),
                None => repo.to_owned(),
            };
            Some(Self { repo: repo.strip_suffix(".git").unwrap_or(&repo).to_owned(), file })
        })
    }

    fn step(&self, head: &Parts) -> Option<Step> {
        // Before a large request git sends an empty one, four bytes, to see whether its credentials are good.
        let probe = head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "4");
        match (head.method.as_str(), self.file, head.uri.query()) {
            ("GET", "info/refs", Some("service=git-upload-pack")) => Some(Step::FetchRefs),
            ("GET", "info/refs", Some("service=git-receive-pack")) => Some(Step::PushRefs),
            ("POST", "git-upload-pack", _) if !probe => Some(Step::Fetch),
            ("POST", "git-receive-pack", _) if !probe => Some(Step::Push),
            _ => None,
        }
    }
}
