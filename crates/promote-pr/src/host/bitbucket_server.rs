//! [Bitbucket Data Center's REST API](https://developer.atlassian.com/server/bitbucket/rest/), and Bitbucket Server's.

mod build;
mod parse;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName};
use secrecy::SecretString;
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, RepoUrl};
use crate::request::{Attributes, Credentials, MergePolicy};

use self::parse::{Properties, Pull};
use super::line::Line;
use super::rest::{self, Rest};
use super::wire::{self, Answer, Ask, Site};
use super::{
    Capabilities, Created, Host, Merge, Merged, NewPullRequest, Provider, PullRequest, PullRequestState, most_telling,
};

/// What is asked for on [a page](https://developer.atlassian.com/server/bitbucket/rest/latest/intro/#paged-apis).
const PAGE_SIZE: usize = 100;

/// How often a change is tried anew on what is there then, when somebody else changes the pull request at once.
const ATTEMPTS: usize = 3;

/// What it can do. Drafts need 8.18 and merging by the host 8.15, as the
/// [changelog](https://developer.atlassian.com/server/bitbucket/reference/api-changelog/) says.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    title: 255,
    body: 32_768,
    draft: true,
    labels: false,
    reviewers: true,
    team_reviewers: false,
    assignees: false,
    milestone: false,
    auto_merge: true,
    immediate_merge: true,
};

/// A repository on Bitbucket Server.
pub(super) struct BitbucketServer {
    rest: Rest,
}

impl BitbucketServer {
    pub(super) fn open(
        repository: &RepoUrl,
        api_url: Option<&Url>,
        credentials: &Credentials,
        line: Line,
    ) -> Result<Self, Error> {
        let not_a_repository =
            || Error::NotARepository { repository: repository.to_string(), provider: Provider::BitbucketServer };
        let (context, project, name) = repository_of(repository).ok_or_else(not_a_repository)?;
        let mut api = wire::base(api_url, &api_of(repository, context))?;
        let path = rest_of(api.path());
        api.set_path(&path);
        let no_token = || Error::NoToken { host: repository.host().to_owned() };
        let token = wire::token(credentials).ok_or_else(no_token)?;
        let bad_token = || Error::BadToken { host: repository.host().to_owned() };
        let authorization = authorization(credentials, &token).ok_or_else(bad_token)?;
        let site = Site::at(format!("/projects/{project}/repos/{name}"), (project, name), &api, token);
        Ok(Self { rest: Rest::new(line, &api, authorization, site) })
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        self.rest.send(ask).await
    }

    async fn read(&self, number: u64) -> Result<Pull, Error> {
        self.send(build::read(&self.rest.site, number)).await?.success()?.json()
    }

    /// Changes the pull request as it stands, by a request that names its version.
    async fn change(&self, number: u64, ask: impl Fn(&Pull) -> Ask + Send + Sync) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            let answer = self.send(ask(&self.read(number).await?)).await?;
            if !parse::is_out_of_date(&answer) || attempt == ATTEMPTS {
                return answer.success().map(drop);
            }
            attempt += 1;
        }
    }

    /// Fails unless the installation is at least this version, or does not tell.
    async fn needs(&self, version: (u32, u32), what: &'static str) -> Result<(), Error> {
        let answer = self.send(build::properties()).await?.success()?;
        let has = answer.json::<Properties>()?.version.and_then(|version| parse::version(&version));
        match has {
            Some(has) if has < version => Err(self.rest.site.cannot(Provider::BitbucketServer, what)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Host for BitbucketServer {
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error> {
        let pulls =
            self.rest.list(0, PAGE_SIZE, |start| build::find(&self.rest.site, head, start), parse::list).await?;
        Ok(most_telling(pulls.into_iter().filter(|pull| pull.head == head.as_str() && pull.base == base.as_str())))
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls =
            self.rest.list(0, PAGE_SIZE, |start| build::list_open(&self.rest.site, start), parse::list).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        if new.draft {
            self.needs((8, 18), "drafts before version 8.18").await?;
        }
        if !parse::branch(self.send(build::branch(&self.rest.site, &new.head)).await?, &new.head)? {
            return Ok(Created::HeadUnknown);
        }
        parse::created(self.send(build::create(&self.rest.site, new)).await?)
    }

    async fn update(&self, pull: &PullRequest, title: &str, body: &str) -> Result<(), Error> {
        self.change(pull.number, |seen| build::update(&self.rest.site, seen, title, body)).await
    }

    async fn dress(&self, pull: &PullRequest, attributes: &Attributes) -> Result<(), Error> {
        let missing = attributes.missing_in(&pull.attributes);
        if let Some(what) = CAPABILITIES.missing(&missing, MergePolicy::None) {
            return Err(self.rest.site.cannot(Provider::BitbucketServer, what));
        }
        if missing == Attributes::default() {
            return Ok(());
        }
        self.change(pull.number, |seen| build::dress(&self.rest.site, seen, &missing)).await
    }

    async fn merge(&self, pull: &PullRequest, how: Merge) -> Result<Merged, Error> {
        if how == Merge::Auto {
            self.needs((8, 15), "merging by the host before version 8.15").await?;
        }
        let seen = self.read(pull.number).await?;
        if seen.state == "MERGED" {
            return Ok(Merged::Done);
        }
        if seen.from_ref.latest_commit != pull.head_commit.map(|id| id.to_string()) {
            return Ok(Merged::NotYet("its head moved".to_owned()));
        }
        parse::merged(self.send(build::merge(&self.rest.site, &seen, how)).await?)
    }

    async fn close(&self, number: u64) -> Result<(), Error> {
        let seen = self.read(number).await?;
        if seen.state != "OPEN" {
            return Ok(());
        }
        self.change(number, |seen| build::close(&self.rest.site, seen)).await
    }

    async fn comment(&self, number: u64, body: &str) -> Result<(), Error> {
        let comments = self.send(build::comments(&self.rest.site, number)).await?.success()?;
        if parse::comments(&comments)?.iter().any(|comment| comment.trim() == body.trim()) {
            return Ok(());
        }
        self.send(build::comment(&self.rest.site, number, body)).await?.success().map(drop)
    }

    async fn delete_branch(&self, name: &BranchName) -> Result<bool, Error> {
        if !parse::branch(self.send(build::branch(&self.rest.site, name)).await?, name)? {
            return Ok(false);
        }
        self.send(build::delete_branch(&self.rest.site, name)).await?.success().map(|_| true)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}

/// The API lives beside the pages, under a context path too.
fn api_of(repository: &RepoUrl, context: &str) -> String {
    let separator = if context.is_empty() { "" } else { "/" };
    format!("{}{separator}{context}/rest/api/1.0", wire::origin(repository))
}

/// The root of all APIs of an installation: branches are deleted through another one than pull requests are opened.
fn rest_of(path: &str) -> String {
    let path = path.trim_end_matches('/');
    let path = ["/api/1.0", "/api/latest"].iter().find_map(|api| path.strip_suffix(api)).unwrap_or(path);
    if path.ends_with("/rest") { path.to_owned() } else { format!("{path}/rest") }
}

/// Context path, project and name: of `/scm/PROJECT/NAME.git`, where a person's project is `~user`, or of
/// `/PROJECT/NAME.git` over SSH.
fn repository_of(repository: &RepoUrl) -> Option<(&str, &str, &str)> {
    let (parents, name) = repository.owner_and_name()?;
    let (parents, project) = parents.rsplit_once('/').unwrap_or(("", parents));
    let context = match parents {
        "" | "scm" => "",
        _ => parents.strip_suffix("/scm")?,
    };
    let user = project.strip_prefix('~').unwrap_or(project);
    let is_plain = wire::is_plain(user)
        && wire::is_plain(name)
        && context.split('/').all(|part| part.is_empty() || wire::is_plain(part));
    is_plain.then_some((context, project, name))
}

/// An [HTTP access token](https://confluence.atlassian.com/bitbucketserver/http-access-tokens-939515499.html), or a user
/// name with a password.
fn authorization(credentials: &Credentials, token: &SecretString) -> Option<(HeaderName, HeaderValue)> {
    let value = match (&credentials.token, &credentials.username) {
        (None, Some(username)) => rest::basic(username.trim(), token),
        _ => rest::bearer(token),
    };
    Some((AUTHORIZATION, value?))
}

#[cfg(test)]
mod tests;
