//! What a caller asks for, and what it gets.

use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use crate::content::{BodyTemplate, MessageTemplate, TitleTemplate};
use crate::edit;
use crate::git::{SigningKey, SshIdentity};
use crate::host::{Provider, PullRequest, PullRequestState};
use crate::names::{BranchName, RepoUrl};

/// The first component of every head branch.
const BRANCH_ROOT: &str = "promotion";

/// Longest component that is taken from a namespace, pipeline or environment as it is: a DNS label's length.
const MAX_PART: usize = 63;

/// Longest slug of a revision. With it a whole branch stays below 244 bytes, so that `refs/heads/` and the branch fit
/// into the 255 bytes that hosts keep for a ref.
const MAX_SLUG: usize = 32;

/// The name space of the version 5 UUIDs that name promotions ([RFC 9562 §5.5]).
///
/// [RFC 9562 §5.5]: https://www.rfc-editor.org/rfc/rfc9562#section-5.5
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_3a52_9d0e_4b7b_8a55_2c31_77e0_94d1);

/// One promotion: which value goes into which manifests of which repository.
#[derive(Clone, Debug)]
pub struct Request {
    /// Identifies the promotion; decides its head branch and id.
    pub key: Key,
    /// The configuration repository.
    pub repository: RepoUrl,
    /// The branch that the pull request is to be merged into.
    pub base: BranchName,
    /// The software that serves the repository; detected from well-known host names when absent.
    pub provider: Option<Provider>,
    /// The base of the provider's API, for an installation whose API cannot be derived from the repository's URL.
    pub api_url: Option<Url>,
    /// The fields of the manifests that are to change, and what they get. An update that names its files must lead to a
    /// field; a marker need not be there as long as some update leads to one.
    pub updates: Vec<edit::Update>,
    /// The environment that the revision comes from, for the pull request's text.
    pub source_environment: Option<String>,
    /// The revision that the environment has, for the pull request's text.
    pub previous_revision: Option<String>,
    /// Pages that the pull request's text links.
    pub links: Links,
    /// The words of pull request and commit, where they are to be others than the usual ones.
    pub templates: Templates,
    /// What a reviewer finds beside the text.
    pub attributes: Attributes,
    /// Whether the pull request is merged without a person.
    pub merge: MergePolicy,
}

/// Pages that a pull request's text links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Where the revision comes from, such as a commit or a release.
    pub source: Option<Url>,
    /// A page about the pipeline.
    pub pipeline: Option<Url>,
    /// The pull request of the promotion to this environment before this one.
    pub previous: Option<Url>,
}

/// The words of a pull request and its commit, each a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    /// The title.
    pub title: Option<TitleTemplate>,
    /// The text.
    pub body: Option<BodyTemplate>,
    /// The commit's message; goes before [`Options::message`](crate::Options::message).
    pub message: Option<MessageTemplate>,
}

/// What a reviewer finds on a pull request beside its text. What a host cannot do is [`Error::NotSupported`], and then
/// nothing is pushed.
///
/// [`Error::NotSupported`]: crate::Error::NotSupported
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The names of its labels.
    pub labels: Vec<String>,
    /// The login names of those whose review is asked for.
    pub reviewers: Vec<String>,
    /// The names of the teams whose review is asked for.
    pub team_reviewers: Vec<String>,
    /// The login names of those it is assigned to.
    pub assignees: Vec<String>,
    /// The title of its milestone.
    pub milestone: Option<String>,
    /// Whether it opens as a draft. Whoever makes it ready for review decides that for good.
    pub draft: bool,
}

impl Attributes {
    /// What is to be set on a pull request that shows `seen`. Names are compared without regard to case, as hosts do; a
    /// milestone that is there stays, and a draft is not set later.
    pub(crate) fn missing_in(&self, seen: &Self) -> Self {
        let missing = |wanted: &[String], seen: &[String]| {
            let lower: Vec<String> = seen.iter().map(|name| name.to_lowercase()).collect();
            let mut missing: Vec<String> = Vec::new();
            for name in wanted {
                if !lower.contains(&name.to_lowercase()) && !missing.contains(name) {
                    missing.push(name.clone());
                }
            }
            missing
        };
        Self {
            labels: missing(&self.labels, &seen.labels),
            reviewers: missing(&self.reviewers, &seen.reviewers),
            team_reviewers: missing(&self.team_reviewers, &seen.team_reviewers),
            assignees: missing(&self.assignees, &seen.assignees),
            milestone: self.milestone.clone().filter(|_| seen.milestone.is_none()),
            draft: false,
        }
    }
}

/// Who merges a promotion's pull request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergePolicy {
    /// People.
    #[default]
    None,
    /// The host, as soon as its rules are met: checks, approvals, a merge queue.
    Auto,
    /// The promoter, as soon as the host lets it.
    Immediate,
}

/// Identifies a promotion. Two equal keys are one promotion, however often it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The namespace of the pipeline.
    pub namespace: String,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The environment that is promoted to.
    pub environment: String,
    /// The revision that is promoted.
    pub revision: String,
    /// 1, and one more each time that the same revision is promoted to the same environment anew.
    pub sequence: u32,
}

impl Key {
    /// The promotion's id: a UUID of version 5 over all parts of the key.
    pub fn id(&self) -> Uuid {
        let mut name = String::new();
        for part in [&self.namespace, &self.pipeline, &self.environment, &self.revision] {
            name.push_str(&format!("{}:{part},", part.len()));
        }
        name.push_str(&self.sequence.to_string());
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }

    /// The promotion's trace, as [W3C's `traceparent`](https://www.w3.org/TR/trace-context/#traceparent-header), sampled: the
    /// trace has the promotion's [id](Key::id), and its first span the second half of it.
    pub fn traceparent(&self) -> String {
        let id = self.id();
        let (_, span) = id.as_u64_pair();
        format!("00-{}-{span:016x}-01", id.simple())
    }

    /// The head branch: `promotion/<namespace>/<pipeline>/<environment>/<revision slug>-<8 hex digits of the id>`.
    ///
    /// Valid by [git-check-ref-format] and at most 244 bytes long, whatever the key holds.
    ///
    /// [git-check-ref-format]: https://git-scm.com/docs/git-check-ref-format
    pub fn branch(&self) -> BranchName {
        let slug = slug(&self.revision, MAX_SLUG);
        let separator = if slug.is_empty() { "" } else { "-" };
        let hash = short_hex(self.id());
        BranchName::new_unchecked(format!("{}{slug}{separator}{hash}", self.branch_prefix()))
    }

    /// What the head branches of all promotions of this pipeline to this environment begin with, ending in `/`.
    ///
    /// Different pipelines and environments have different prefixes, none of which begins with another.
    pub fn branch_prefix(&self) -> String {
        let [namespace, pipeline, environment] = [&self.namespace, &self.pipeline, &self.environment].map(component);
        format!("{BRANCH_ROOT}/{namespace}/{pipeline}/{environment}/")
    }
}

/// What opens the repository and its host's API. Secrets do not show in `Debug`.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The user name for git; each provider has its own default for tokens.
    pub username: Option<String>,
    /// The password for git, and for the API where there is no token; neither if the repository is reached over SSH.
    pub password: Option<SecretString>,
    /// The token for the API, and for git over https where there is no password.
    pub token: Option<SecretString>,
    /// The GitHub App whose tokens open the API and git, in the place of all of the above.
    pub app: Option<GitHubApp>,
    /// What the commits are signed with.
    pub signing: Option<SigningKey>,
    /// The private key and the known hosts for git over SSH. The user is the one that the repository's URL names, else
    /// `git`.
    pub ssh: Option<SshIdentity>,
    /// Trust and proxy of the connection.
    pub identity: egress::Identity,
}

/// A [GitHub App](https://docs.github.com/en/apps/creating-github-apps/about-creating-github-apps/about-creating-github-apps)
/// that is installed for the repository, with the right to write contents and pull requests.
#[derive(Clone, Debug)]
pub struct GitHubApp {
    /// Its id or client id.
    pub app_id: String,
    /// Where it is installed.
    pub installation: Installation,
    /// Its RSA private key, in PEM.
    pub private_key: SecretString,
    /// The base of the REST API, if it cannot be derived from the repository's URL.
    pub api_url: Option<Url>,
}

/// An installation of a GitHub App.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Installation {
    /// Its id.
    Id(u64),
    /// The organization or person whose account it is on.
    Owner(String),
}

/// Where a promotion stands.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The state of it all.
    pub state: State,
    /// The promotion's pull request, unless there was nothing to change.
    pub pull_request: Option<PullRequest>,
    /// The promotion's head branch.
    pub head: BranchName,
    /// What this call pushed; empty when it found the pull request already there.
    pub changes: Vec<FileChange>,
    /// The pull requests of older revisions that this call closed.
    pub superseded: Vec<PullRequest>,
    /// Why an open pull request that is to be merged without a person is not: the host's own words.
    pub held_up: Option<String>,
}

/// The state of a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The pull request waits to be merged.
    Open,
    /// The pull request is merged.
    Merged,
    /// Somebody closed the pull request without merging it. It is never opened again.
    Closed,
    /// The base branch holds the value already: there is nothing to change, and no pull request.
    AlreadyApplied,
}

impl From<PullRequestState> for State {
    fn from(state: PullRequestState) -> Self {
        match state {
            PullRequestState::Open => Self::Open,
            PullRequestState::Merged => Self::Merged,
            PullRequestState::Closed => Self::Closed,
        }
    }
}

/// One changed field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The file's path in the repository.
    pub path: String,
    /// The line of the field, from 1.
    pub line: usize,
    /// What the field held.
    pub old: String,
    /// What the field holds now.
    pub new: String,
}

/// What [`Promoter::withdraw`](crate::Promoter::withdraw) removed.
#[derive(Clone, Debug)]
pub struct Withdrawn {
    /// The pull requests that were closed.
    pub pull_requests: Vec<PullRequest>,
    /// The branches that were deleted.
    pub branches: Vec<BranchName>,
}

/// The first 8 hexadecimal digits of a UUID.
fn short_hex(id: Uuid) -> String {
    id.simple().to_string().chars().take(8).collect()
}

/// A namespace, pipeline or environment as one component of a branch name: itself when it is a usual Kubernetes name,
/// else a slug with a digest behind `_`, which no Kubernetes name holds.
fn component(part: &String) -> String {
    let usual = !part.is_empty()
        && part.len() <= MAX_PART
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && !part.starts_with(['.', '-'])
        && !part.ends_with('.')
        && !part.contains("..")
        && !part.ends_with(".lock");
    if usual {
        return part.clone();
    }
    let digest: String = Uuid::new_v5(&NAMESPACE, part.as_bytes()).simple().to_string().chars().take(16).collect();
    format!("{}_{digest}", slug(part, MAX_PART - 17))
}

/// The letters, digits, dots, underscores and single dashes of `text`, at most `max` of them; everything else is a dash.
fn slug(text: &str, max: usize) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' };
        let repeated = (c == '-' || c == '.') && slug.ends_with(['-', '.']);
        if slug.len() < max && !repeated {
            slug.push(c);
        }
    }
    slug.trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests;
