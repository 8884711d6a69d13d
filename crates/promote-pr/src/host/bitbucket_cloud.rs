//! [Bitbucket Cloud's REST API](https://developer.atlassian.com/cloud/bitbucket/rest/intro/): bitbucket.org.

mod build;
mod parse;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName};
use secrecy::SecretString;
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, CommitId, RepoUrl};
use crate::request::{Attributes, Credentials, MergePolicy};

use self::parse::{Commit, Pull};
use super::line::Line;
use super::rest::{self, Rest};
use super::wire::{self, Answer, Ask, Site};
use super::{
    Capabilities, Created, Host, Merge, Merged, NewPullRequest, Provider, PullRequest, PullRequestState, most_telling,
};

/// The most pull requests that Bitbucket puts on [a page](https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination).
const PAGE_SIZE: usize = 50;

/// What it can do.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    title: 255,
    body: 32_768,
    draft: true,
    labels: false,
    reviewers: true,
    team_reviewers: false,
    assignees: false,
    milestone: false,
    auto_merge: false,
    immediate_merge: true,
};

/// A repository on Bitbucket Cloud.
pub(super) struct BitbucketCloud {
    rest: Rest,
}

impl BitbucketCloud {
    pub(super) fn open(
        repository: &RepoUrl,
        api_url: Option<&Url>,
        credentials: &Credentials,
        line: Line,
    ) -> Result<Self, Error> {
        let not_a_repository =
            || Error::NotARepository { repository: repository.to_string(), provider: Provider::BitbucketCloud };
        let (workspace, name) = repository_of(repository).ok_or_else(not_a_repository)?;
        let api = wire::base(api_url, API)?;
        let no_token = || Error::NoToken { host: repository.host().to_owned() };
        let token = wire::token(credentials).ok_or_else(no_token)?;
        let bad_token = || Error::BadToken { host: repository.host().to_owned() };
        let authorization = authorization(credentials, &token).ok_or_else(bad_token)?;
        let site = Site::at(format!("/repositories/{workspace}/{name}"), (workspace, name), &api, token);
        Ok(Self { rest: Rest::new(line, &api, authorization, site) })
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        self.rest.send(ask).await
    }

    async fn read(&self, number: u64) -> Result<Pull, Error> {
        self.send(build::read(&self.rest.site, number)).await?.success()?.json()
    }

    /// With whole commit ids: pull requests show their first digits.
    async fn complete(&self, pull: Pull) -> Result<PullRequest, Error> {
        let head = self.commit(pull.source.commit.as_ref()).await?;
        let merged = self.commit(pull.merge_commit.as_ref()).await?;
        let pull = PullRequest::from(pull);
        let merged_commit = merged.filter(|_| pull.state == PullRequestState::Merged);
        Ok(PullRequest { head_commit: head, merged_commit, ..pull })
    }

    async fn commit(&self, commit: Option<&Commit>) -> Result<Option<CommitId>, Error> {
        match commit {
            None => Ok(None),
            Some(commit) => match commit.hash.parse() {
                Ok(id) => Ok(Some(id)),
                Err(_) => parse::commit(self.send(build::read_commit(&self.rest.site, &commit.hash)).await?),
            },
        }
    }
}

#[async_trait]
impl Host for BitbucketCloud {
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error> {
        let pulls =
            self.rest.list(1, PAGE_SIZE, |page| build::find(&self.rest.site, head, base, page), parse::list).await?;
        let pull =
            most_telling(pulls.into_iter().filter(|pull| pull.head == head.as_str() && pull.base == base.as_str()));
        match pull {
            Some(pull) => self.complete(self.read(pull.number).await?).await.map(Some),
            None => Ok(None),
        }
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls =
            self.rest.list(1, PAGE_SIZE, |page| build::list_open(&self.rest.site, page), parse::list).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        if !parse::branch(self.send(build::branch(&self.rest.site, &new.head)).await?)? {
            return Ok(Created::HeadUnknown);
        }
        match parse::created(self.send(build::create(&self.rest.site, new)).await?)? {
            None => Ok(Created::Exists),
            Some(pull) => self.complete(pull).await.map(Created::Done),
        }
    }

    async fn update(&self, pull: &PullRequest, title: &str, body: &str) -> Result<(), Error> {
        let seen = self.read(pull.number).await?;
        self.send(build::update(&self.rest.site, &seen, title, body)).await?.success().map(drop)
    }

    async fn dress(&self, pull: &PullRequest, attributes: &Attributes) -> Result<(), Error> {
        let missing = attributes.missing_in(&pull.attributes);
        if let Some(what) = CAPABILITIES.missing(&missing, MergePolicy::None) {
            return Err(self.rest.site.cannot(Provider::BitbucketCloud, what));
        }
        if missing == Attributes::default() {
            return Ok(());
        }
        let seen = self.read(pull.number).await?;
        self.send(build::dress(&self.rest.site, &seen, &missing)).await?.success().map(drop)
    }

    async fn merge(&self, pull: &PullRequest, how: Merge) -> Result<Merged, Error> {
        if how == Merge::Auto {
            return Err(self
                .rest
                .site
                .cannot(Provider::BitbucketCloud, "merging by the host as soon as its rules are met"));
        }
        let seen = self.complete(self.read(pull.number).await?).await?;
        if seen.state == PullRequestState::Merged {
            return Ok(Merged::Done);
        }
        if seen.head_commit != pull.head_commit {
            return Ok(Merged::NotYet("its head moved".to_owned()));
        }
        parse::merged(self.send(build::merge(&self.rest.site, pull.number)).await?)
    }

    async fn close(&self, number: u64) -> Result<(), Error> {
        if self.read(number).await?.state != "OPEN" {
            return Ok(());
        }
        self.send(build::close(&self.rest.site, number)).await?.success().map(drop)
    }

    async fn comment(&self, number: u64, body: &str) -> Result<(), Error> {
        let comments = self.send(build::comments(&self.rest.site, number)).await?.success()?;
        if parse::comments(&comments)?.iter().any(|comment| comment.trim() == body.trim()) {
            return Ok(());
        }
        self.send(build::comment(&self.rest.site, number, body)).await?.success().map(drop)
    }

    async fn delete_branch(&self, branch: &BranchName) -> Result<bool, Error> {
        parse::deleted(self.send(build::delete_branch(&self.rest.site, branch)).await?)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/intro/#uri-structure>
const API: &str = "https://api.bitbucket.org/2.0";

fn repository_of(repository: &RepoUrl) -> Option<(&str, &str)> {
    let (workspace, name) = repository.owner_and_name()?;
    (wire::is_plain(workspace) && wire::is_plain(name)).then_some((workspace, name))
}

/// An [access token](https://developer.atlassian.com/cloud/bitbucket/rest/intro/#access-tokens) of a repository, project
/// or workspace, or a user with an API token or app password: `username` is the account's e-mail address, or its name.
fn authorization(credentials: &Credentials, token: &SecretString) -> Option<(HeaderName, HeaderValue)> {
    let value = match (&credentials.token, &credentials.username) {
        (None, Some(username)) => rest::basic(username.trim(), token),
        _ => rest::bearer(token),
    };
    Some((AUTHORIZATION, value?))
}

#[cfg(test)]
mod tests;
