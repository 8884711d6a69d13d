//! What the imitation of GitHub knows: tokens, and the pull requests on top of each bare repository.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;
use url::Url;

use super::api::Problem;
use crate::{
    git_server::{self, RepoHandle},
    https::lock,
    recorded::now,
};

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Its number, counted per repository.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its description.
    pub body: Option<String>,
    /// Open, closed or merged.
    pub state: PullState,
    /// The head branch.
    pub head: String,
    /// The head branch's tip; the last one, when it is no longer open.
    pub head_sha: String,
    /// The base branch.
    pub base: String,
    /// The base branch's tip when it was created.
    pub base_sha: String,
    /// The commit that merged it.
    pub merge_commit: Option<String>,
    /// Whether it is a draft.
    pub draft: bool,
    /// Its labels.
    pub labels: BTreeSet<String>,
    /// Those whose review is asked for.
    pub reviewers: BTreeSet<String>,
    /// The teams whose review is asked for.
    pub teams: BTreeSet<String>,
    /// Who was ever asked for a review; teams as `team:name`.
    pub asked: Vec<String>,
    /// Those it is assigned to.
    pub assignees: BTreeSet<String>,
    /// Its milestone.
    pub milestone: Option<String>,
    /// Whether it is merged as soon as nothing is in the way.
    pub auto_merge: bool,
    /// Its comments, oldest first.
    pub comments: Vec<Comment>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
    /// When it was closed or merged.
    pub closed: Option<Timestamp>,
}

/// What has become of a [`Pull`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullState {
    /// Nothing yet.
    Open,
    /// It was closed without a merge.
    Closed,
    /// It was merged.
    Merged,
}

/// A comment on a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its id, unique on this server.
    pub id: u64,
    /// Its text.
    pub body: String,
    /// When it was made.
    pub created: Timestamp,
}

pub(crate) struct World {
    root: PathBuf,
    pub(crate) git_origin: Url,
    /// `https://127.0.0.1:<port>/api/v3/`
    pub(crate) api: Url,
    tokens: Mutex<HashMap<String, Access>>,
    repos: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Repo>>>>,
    keeps_headless: bool,
    requests: AtomicU32,
}

/// The repositories that a token sees; none stands for all.
pub(crate) type Access = Option<BTreeSet<String>>;

pub(crate) struct Repo {
    pub(crate) git: RepoHandle,
    pub(crate) pulls: Vec<Pull>,
    /// Whether nothing is merged, as without a required approval.
    pub(crate) blocked: bool,
    /// Whether the base branch has a merge queue.
    pub(crate) queue: bool,
    /// Whether it is archived, and so takes no change.
    pub(crate) archived: bool,
    /// Whether an open pull request stays open when its head branch is deleted.
    keeps_headless: bool,
    delay: usize,
    /// How often each branch tip has been hidden.
    hidden: HashMap<(String, String), usize>,
}

impl World {
    pub(crate) fn new(root: &Path, git_origin: &Url, api: Url) -> Self {
        Self {
            root: root.to_owned(),
            git_origin: git_origin.clone(),
            api,
            tokens: Mutex::new(HashMap::from([(git_server::TOKEN.to_owned(), None)])),
            repos: Mutex::default(),
            keeps_headless: false,
            requests: AtomicU32::new(0),
        }
    }

    /// A world in which a pull request stays open when its head branch is deleted.
    pub(crate) fn keeping_headless(self, keeps_headless: bool) -> Self {
        Self { keeps_headless, ..self }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn add_token(&self, token: &str, repos: Option<&[&str]>) {
        let access = repos.map(|repos| repos.iter().map(ToString::to_string).collect());
        lock(&self.tokens).insert(token.to_owned(), access);
    }

    pub(crate) fn revoke_token(&self, token: &str) {
        lock(&self.tokens).remove(token);
    }

    /// What a token may see; none when it is not known.
    pub(crate) fn access_of(&self, token: &str) -> Option<Access> {
        lock(&self.tokens).get(token).cloned()
    }

    /// What the request's token may see; none without a token. [Ways to send
    /// it](https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api).
    pub(crate) fn access(&self, headers: &HeaderMap) -> Result<Option<Access>, Problem> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Ok(None);
        };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, credentials) = value.split_once(' ')?;
            match scheme.to_ascii_lowercase().as_str() {
                "bearer" | "token" => Some(credentials.to_owned()),
                "basic" => {
                    let pair = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
                    pair.split_once(':').map(|(_, password)| password.to_owned())
                }
                _ => None,
            }
        });
        let access = token.and_then(|token| lock(&self.tokens).get(&token).cloned());
        access.map(Some).ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "Bad credentials"))
    }

    /// A repository as it stands, for the caller alone.
    pub(crate) async fn repo(&self, name: &str) -> Result<OwnedMutexGuard<Repo>> {
        let git = RepoHandle::open(&self.root, name)?;
        let repo = Arc::clone(lock(&self.repos).entry(name.to_owned()).or_insert_with(|| {
            let repo = Repo {
                git,
                pulls: Vec::new(),
                blocked: false,
                queue: false,
                archived: false,
                keeps_headless: self.keeps_headless,
                delay: 0,
                hidden: HashMap::new(),
            };
            Arc::new(tokio::sync::Mutex::new(repo))
        }));
        let mut repo = repo.lock_owned().await;
        repo.follow_pushes(now()).await?;
        Ok(repo)
    }

    /// A comment's id.
    pub(crate) fn next_id() -> u64 {
        static IDS: AtomicU64 = AtomicU64::new(1);
        IDS.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a request in the
    /// [rate limit's headers](https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#checking-the-status-of-your-rate-limit).
    pub(crate) fn count(&self, headers: &mut HeaderMap) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.show_count(headers);
    }

    /// The headers of a request that is not counted.
    pub(crate) fn show_count(&self, headers: &mut HeaderMap) {
        const LIMIT: u32 = 5000;
        let used = self.requests.load(Ordering::Relaxed).min(LIMIT);
        for (name, value) in [
            ("x-ratelimit-limit", HeaderValue::from(LIMIT)),
            ("x-ratelimit-remaining", HeaderValue::from(LIMIT - used)),
            ("x-ratelimit-used", HeaderValue::from(used)),
            ("x-ratelimit-reset", HeaderValue::from(now().as_second() + 3600)),
            ("x-ratelimit-resource", HeaderValue::from_static("core")),
        ] {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

impl Repo {
    pub(crate) fn pull(&self, number: u64) -> Option<&Pull> {
        self.pulls.iter().find(|pull| pull.number == number)
    }

    pub(crate) fn pull_mut(&mut self, number: u64) -> Result<&mut Pull, Problem> {
        self.pulls.iter_mut().find(|pull| pull.number == number).ok_or_else(Problem::not_found)
    }

    pub(crate) async fn delay_heads(&mut self, n: usize) -> Result<()> {
        self.delay = n;
        self.hidden = self.git.branches().await?.into_iter().map(|tip| (tip, usize::MAX)).collect();
        Ok(())
    }

    /// The branches that the host has noticed; `asked` is the one that the request names.
    pub(crate) async fn branches(&mut self, asked: &str) -> Result<BTreeMap<String, String>> {
        let mut branches = self.git.branches().await?;
        if let Some(tip) = branches.get(asked) {
            let times = self.hidden.entry((asked.to_owned(), tip.clone())).or_default();
            if *times < self.delay {
                *times += 1;
                branches.remove(asked);
            }
        }
        Ok(branches)
    }

    /// What a push does to open pull requests: a new tip of the head branch shows on it, a deleted
    /// [head branch](https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/proposing-changes-to-your-work-with-pull-requests/creating-and-deleting-branches-within-your-repository#deleting-a-branch)
    /// closes it, a base branch that contains the head
    /// [marks it as merged](https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges#indirect-merges).
    async fn follow_pushes(&mut self, at: Timestamp) -> Result<()> {
        if !self.pulls.iter().any(|pull| pull.state == PullState::Open) {
            return Ok(());
        }
        let branches = self.git.branches().await?;
        for pull in self.pulls.iter_mut().filter(|pull| pull.state == PullState::Open) {
            let (Some(head), Some(base)) = (branches.get(&pull.head), branches.get(&pull.base)) else {
                if !self.keeps_headless {
                    pull.end(PullState::Closed, at);
                }
                continue;
            };
            if *head != pull.head_sha {
                head.clone_into(&mut pull.head_sha);
                pull.updated = at;
            }
            if *base != pull.base_sha && self.git.is_ancestor(head, base).await? {
                pull.merge_commit = Some(base.clone());
                pull.end(PullState::Merged, at);
            }
        }
        Ok(())
    }
}

impl Pull {
    pub(crate) fn end(&mut self, state: PullState, at: Timestamp) {
        self.state = state;
        self.closed = Some(at);
        self.updated = at;
    }
}
