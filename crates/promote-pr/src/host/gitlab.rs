//! [GitLab's REST API](https://docs.gitlab.com/api/rest/), on gitlab.com and on installations.
//!
//! Paths and parameters come from the [gitlab] crate's endpoints; what it calls a form goes as JSON, which GitLab
//! [takes as well](https://docs.gitlab.com/api/rest/#request-payload).

mod build;
mod parse;

use async_trait::async_trait;
use gitlab::api::common::path_escaped;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, RepoUrl};
use crate::request::{Attributes, Credentials, MergePolicy};

use self::build::Ids;
use self::parse::{Pull, Settings, User};
use super::line::Line;
use super::rest::{self, Rest};
use super::wire::{self, Answer, Ask, Site};
use super::{
    Capabilities, Created, Host, Merge, Merged, NewPullRequest, Provider, PullRequest, PullRequestState, most_telling,
};

/// The most that GitLab puts on [a page](https://docs.gitlab.com/api/rest/#pagination).
const PAGE_SIZE: usize = 100;

/// What makes a merge request [a draft](https://docs.gitlab.com/user/project/merge_requests/drafts/).
const DRAFT: &str = "Draft: ";

/// What it can do. Titles have 255 characters, the mark of a draft included.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    title: 248,
    body: 1_048_576,
    draft: true,
    labels: true,
    reviewers: true,
    team_reviewers: false,
    assignees: true,
    milestone: true,
    auto_merge: true,
    immediate_merge: true,
};

/// A project on GitLab.
pub(super) struct GitLab {
    rest: Rest,
}

impl GitLab {
    pub(super) fn open(
        repository: &RepoUrl,
        api_url: Option<&Url>,
        credentials: &Credentials,
        line: Line,
    ) -> Result<Self, Error> {
        let not_a_repository =
            || Error::NotARepository { repository: repository.to_string(), provider: Provider::GitLab };
        let api = wire::base(api_url, &api_of(repository))?;
        let (groups, name) = project_of(repository, &api).ok_or_else(not_a_repository)?;
        let no_token = || Error::NoToken { host: repository.host().to_owned() };
        let token = wire::token(credentials).ok_or_else(no_token)?;
        let bad_token = || Error::BadToken { host: repository.host().to_owned() };
        let authorization = authorization(credentials, &token).ok_or_else(bad_token)?;
        let path = format!("/projects/{}", path_escaped(&format!("{groups}/{name}")));
        let site = Site::at(path, (&groups, &name), &api, token);
        Ok(Self { rest: Rest::new(line, &api, authorization, site) })
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        self.rest.send(ask).await
    }

    async fn list(&self, ask: Ask) -> Result<Vec<PullRequest>, Error> {
        self.rest.list(1, PAGE_SIZE, |page| build::on_page(&ask, page), parse::list).await
    }

    /// The ids of those that are there and of those that are to come.
    async fn users(&self, what: &'static str, there: Vec<User>, missing: &[String]) -> Result<Vec<u64>, Error> {
        let mut ids: Vec<u64> = there.into_iter().map(|user| user.id).collect();
        for name in missing {
            ids.push(parse::user(self.send(build::user(&self.rest.site, name)?).await?, what, name)?);
        }
        Ok(ids)
    }
}

#[async_trait]
impl Host for GitLab {
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error> {
        let pulls = self.list(build::find(&self.rest.site, head, base)?).await?;
        Ok(most_telling(pulls.into_iter().filter(|pull| pull.head == head.as_str() && pull.base == base.as_str())))
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls = self.list(build::list_open(&self.rest.site)?).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        if !parse::branch(self.send(build::branch(&self.rest.site, &new.head)?).await?)? {
            return Ok(Created::HeadUnknown);
        }
        parse::created(self.send(build::create(&self.rest.site, new)?).await?)
    }

    async fn update(&self, pull: &PullRequest, title: &str, body: &str) -> Result<(), Error> {
        self.send(build::update(&self.rest.site, pull, title, body)?).await?.success().map(drop)
    }

    async fn dress(&self, pull: &PullRequest, attributes: &Attributes) -> Result<(), Error> {
        let missing = attributes.missing_in(&pull.attributes);
        if let Some(what) = CAPABILITIES.missing(&missing, MergePolicy::None) {
            return Err(self.rest.site.cannot(Provider::GitLab, what));
        }
        if missing == Attributes::default() {
            return Ok(());
        }
        let site = &self.rest.site;
        let seen = self.send(build::read(site, pull.number)?).await?.success()?.json::<Pull>()?;
        let reviewers = self.users("reviewer", seen.reviewers, &missing.reviewers).await?;
        let assignees = self.users("assignee", seen.assignees, &missing.assignees).await?;
        let milestone = match &missing.milestone {
            Some(title) => Some(parse::milestone(self.send(build::milestone(site, title)).await?, title)?),
            None => None,
        };
        let ids = Ids { reviewers, assignees, milestone };
        self.send(build::dress(site, pull.number, &missing, &ids)?).await?.success().map(drop)
    }

    async fn merge(&self, pull: &PullRequest, how: Merge) -> Result<Merged, Error> {
        let site = &self.rest.site;
        let seen = self.send(build::read(site, pull.number)?).await?.success()?.json::<Pull>()?;
        if seen.state == "merged" {
            return Ok(Merged::Done);
        }
        if seen.sha.as_deref() != pull.head_commit.map(|id| id.to_string()).as_deref() {
            return Ok(Merged::NotYet("its head moved".to_owned()));
        }
        if seen.merge_when_pipeline_succeeds == Some(true) && how == Merge::Auto {
            return Ok(Merged::Scheduled);
        }
        let status = seen.detailed_merge_status.unwrap_or_default();
        if how == Merge::Auto {
            let project = self.send(build::project(site)?).await?.success()?.json::<Settings>()?;
            if project.merge_trains_enabled == Some(true) {
                if parse::on_train(self.send(build::on_train(site, pull.number)).await?)? {
                    return Ok(Merged::Scheduled);
                }
                return parse::boarded(self.send(build::board_train(site, pull)).await?, &status);
            }
        }
        // Where no rule is left that GitLab could wait for, it takes no order to wait.
        let wait = how == Merge::Auto && status != "mergeable";
        parse::merged(self.send(build::merge(site, pull, wait)?).await?, &status)
    }

    async fn close(&self, number: u64) -> Result<(), Error> {
        self.send(build::close(&self.rest.site, number)?).await?.success().map(drop)
    }

    async fn comment(&self, number: u64, body: &str) -> Result<(), Error> {
        let comments = self.send(build::comments(&self.rest.site, number)?).await?.success()?;
        if parse::comments(&comments)?.iter().any(|comment| comment.trim() == body.trim()) {
            return Ok(());
        }
        self.send(build::comment(&self.rest.site, number, body)?).await?.success().map(drop)
    }

    async fn delete_branch(&self, branch: &BranchName) -> Result<bool, Error> {
        parse::deleted(self.send(build::delete_branch(&self.rest.site, branch)?).await?)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}

/// <https://docs.gitlab.com/api/rest/#rest-api-requests>
fn api_of(repository: &RepoUrl) -> String {
    format!("{}/api/v4", wire::origin(repository))
}

/// The groups and the name of the project, decoded, without the
/// [sub-path](https://docs.gitlab.com/install/relative_url/) that its installation has in front of the API as well.
fn project_of(repository: &RepoUrl, api: &Url) -> Option<(String, String)> {
    let sub_path = api.path().strip_suffix("/api/v4").unwrap_or_default().trim_matches('/');
    let (groups, name) = repository.owner_and_name()?;
    let groups = match groups.strip_prefix(sub_path) {
        Some(rest) if !sub_path.is_empty() => rest.strip_prefix('/')?,
        _ => groups,
    };
    groups.split('/').chain([name]).all(wire::is_plain).then(|| (groups.to_owned(), name.to_owned()))
}

/// [Personal, project, group and OAuth tokens](https://docs.gitlab.com/api/rest/authentication/) go as `Bearer`,
/// [job tokens](https://docs.gitlab.com/ci/jobs/ci_job_token/) in a header of their own.
fn authorization(credentials: &Credentials, token: &SecretString) -> Option<(HeaderName, HeaderValue)> {
    let of_job = credentials.username.as_deref().map(str::trim) == Some("gitlab-ci-token");
    if of_job || token.expose_secret().starts_with("glcbt-") {
        return Some((HeaderName::from_static("job-token"), rest::sensitive(token.expose_secret())?));
    }
    Some((AUTHORIZATION, rest::bearer(token)?))
}

#[cfg(test)]
mod tests;
