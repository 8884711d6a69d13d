//! [Azure DevOps' REST API](https://learn.microsoft.com/en-us/rest/api/azure/devops/git/), of the service and of servers.

mod build;
mod parse;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderValue, StatusCode};
use secrecy::SecretString;
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, RepoUrl};
use crate::request::{Attributes, Credentials, MergePolicy};

use self::parse::{Connection, Pull};
use super::line::Line;
use super::rest::{self, Rest};
use super::wire::{self, Answer, Ask, Site};
use super::{
    Capabilities, Created, Host, Merge, Merged, NewPullRequest, Provider, PullRequest, PullRequestState, most_telling,
};

/// How many are asked for at once; a page with fewer is the last one.
const PAGE_SIZE: usize = 100;

/// The [version](https://learn.microsoft.com/en-us/azure/devops/integrate/concepts/rest-api-versioning) that Azure DevOps
/// Server 2022 and the service speak.
const VERSION: &str = "api-version=7.0";

/// What it can do. Descriptions have
/// [4000 characters](https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/create).
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    title: 400,
    body: 4000,
    draft: true,
    labels: true,
    reviewers: true,
    team_reviewers: true,
    assignees: false,
    milestone: false,
    auto_merge: true,
    immediate_merge: true,
};

/// A repository on Azure DevOps.
pub(super) struct AzureDevOps {
    rest: Rest,
}

impl AzureDevOps {
    pub(super) fn open(
        repository: &RepoUrl,
        api_url: Option<&Url>,
        credentials: &Credentials,
        line: Line,
    ) -> Result<Self, Error> {
        let not_a_repository =
            || Error::NotARepository { repository: repository.to_string(), provider: Provider::AzureDevOps };
        let Place { api, project, name } = place_of(repository).ok_or_else(not_a_repository)?;
        let api = wire::base(api_url, &api)?;
        let no_token = || Error::NoToken { host: repository.host().to_owned() };
        let token = wire::token(credentials).ok_or_else(no_token)?;
        let bad_token = || Error::BadToken { host: repository.host().to_owned() };
        let authorization = authorization(credentials, &token).ok_or_else(bad_token)?;
        let path =
            format!("/{}/_apis/git/repositories/{}", wire::escape_segment(&project), wire::escape_segment(&name));
        let site = Site::at(path, (&project, &name), &api, token);
        // Without it, a wrong token is answered with a way to sign in, not with 401.
        let rest = Rest::new(line, &api, authorization, site).with("x-tfs-fedauthredirect", "Suppress");
        Ok(Self { rest })
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        let answer = self.rest.send(ask).await?;
        if answer.status == StatusCode::NON_AUTHORITATIVE_INFORMATION {
            return Err(answer.denied("it asks to sign in: the token is wrong, has expired or lacks scopes"));
        }
        Ok(answer)
    }

    async fn read(&self, number: u64) -> Result<Pull, Error> {
        self.send(build::read(&self.rest.site, number)).await?.success()?.json()
    }

    /// The tip of a branch.
    async fn tip(&self, name: &BranchName) -> Result<Option<String>, Error> {
        parse::branch(self.send(build::branch(&self.rest.site, name)).await?, name)
    }

    async fn list(&self, ask: impl Fn(u64) -> Ask + Send + Sync) -> Result<Vec<PullRequest>, Error> {
        self.rest.list(0, PAGE_SIZE, ask, |answer, skip| parse::list(answer, skip, |pull| self.shown(pull))).await
    }

    fn shown(&self, pull: Pull) -> PullRequest {
        let page = page_of(self.rest.api(), &self.rest.site, pull.pull_request_id);
        pull.shown(page)
    }
}

#[async_trait]
impl Host for AzureDevOps {
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error> {
        let pulls = self.list(|skip| build::find(&self.rest.site, head, base, skip)).await?;
        let pull =
            most_telling(pulls.into_iter().filter(|pull| pull.head == head.as_str() && pull.base == base.as_str()));
        match pull {
            // Lists cut descriptions off.
            Some(pull) => Ok(Some(self.shown(self.read(pull.number).await?))),
            None => Ok(None),
        }
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls = self.list(|skip| build::list_open(&self.rest.site, skip)).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        if self.tip(&new.head).await?.is_none() {
            return Ok(Created::HeadUnknown);
        }
        Ok(match parse::created(self.send(build::create(&self.rest.site, new)).await?)? {
            None => Created::Exists,
            Some(pull) => Created::Done(self.shown(pull)),
        })
    }

    async fn update(&self, pull: &PullRequest, title: &str, body: &str) -> Result<(), Error> {
        self.send(build::update(&self.rest.site, pull.number, title, body)).await?.success().map(drop)
    }

    async fn dress(&self, pull: &PullRequest, attributes: &Attributes) -> Result<(), Error> {
        let missing = attributes.missing_in(&pull.attributes);
        if let Some(what) = CAPABILITIES.missing(&missing, MergePolicy::None) {
            return Err(self.rest.site.cannot(Provider::AzureDevOps, what));
        }
        let site = &self.rest.site;
        for label in &missing.labels {
            self.send(build::add_label(site, pull.number, label)).await?.success()?;
        }
        for reviewer in missing.reviewers.iter().chain(&missing.team_reviewers) {
            if pull.attributes.reviewers.iter().any(|there| there.eq_ignore_ascii_case(reviewer)) {
                continue;
            }
            let ask = build::add_reviewer(site, pull.number, reviewer)?;
            self.send(ask).await?.success()?;
        }
        Ok(())
    }

    async fn merge(&self, pull: &PullRequest, how: Merge) -> Result<Merged, Error> {
        let site = &self.rest.site;
        let seen = self.read(pull.number).await?;
        if seen.status == "completed" {
            return Ok(Merged::Done);
        }
        if seen.head() != pull.head_commit.map(|id| id.to_string()).as_deref() {
            return Ok(Merged::NotYet("its head moved".to_owned()));
        }
        match how {
            Merge::Auto if seen.auto_complete_set_by.is_some() => Ok(Merged::Scheduled),
            Merge::Auto => {
                let me = self.send(build::connection()).await?.success()?.json::<Connection>()?.authenticated_user.id;
                parse::merged(self.send(build::complete_later(site, pull.number, &me)).await?)
            }
            Merge::Immediate => parse::merged(self.send(build::complete(site, pull)).await?),
        }
    }

    async fn close(&self, number: u64) -> Result<(), Error> {
        if self.read(number).await?.status != "active" {
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
        match self.tip(branch).await? {
            None => Ok(false),
            Some(tip) => parse::deleted(self.send(build::delete_branch(&self.rest.site, branch, &tip)).await?),
        }
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}

/// Where a repository lives: the API of its organization or collection, and the names, decoded.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    api: String,
    project: String,
    name: String,
}

/// The API lives beside the pages:
///
/// - `https://dev.azure.com/ORGANIZATION/PROJECT/_git/NAME`,
/// - `https://ORGANIZATION.visualstudio.com/PROJECT/_git/NAME`, with `DefaultCollection/` in front or without,
/// - [a server's](https://learn.microsoft.com/en-us/azure/devops/server/admin/websitesettings) `https://HOST/tfs/COLLECTION/PROJECT/_git/NAME`,
/// - over SSH `ssh.dev.azure.com/v3/ORGANIZATION/PROJECT/NAME` and `vs-ssh.visualstudio.com/v3/…`.
///
/// The project is left out where the repository has the same name.
fn place_of(repository: &RepoUrl) -> Option<Place> {
    let decoded = |segment: &str| {
        let name = percent_encoding::percent_decode_str(segment).decode_utf8().ok()?.into_owned();
        let is_name = !matches!(name.as_str(), "" | "." | "..")
            && !name.contains(['/', '\\'])
            && !name.contains(char::is_control);
        is_name.then_some(name)
    };
    let path = repository.as_url().path().trim_start_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    let host = repository.host();
    if let ("ssh.dev.azure.com" | "vs-ssh.visualstudio.com", ["v3", organization, project, name]) =
        (host, segments.as_slice())
    {
        let api = format!("https://dev.azure.com/{organization}");
        return Some(Place { api, project: decoded(project)?, name: decoded(name)? });
    }
    let (parents, name) = path.split_once("/_git/").or_else(|| Some(("", path.strip_prefix("_git/")?)))?;
    let name = decoded(name)?;
    let parents: Vec<&str> = parents.split('/').filter(|part| !part.is_empty()).collect();
    let collection = match host {
        "dev.azure.com" => 1,
        host if host.ends_with(".visualstudio.com") => usize::from(parents.first() == Some(&"DefaultCollection")),
        _ => parents.len().checked_sub(1)?,
    };
    let (collection, project) = parents.split_at_checked(collection)?;
    let project = match project {
        [] => name.clone(),
        [project] => decoded(project)?,
        _ => return None,
    };
    let mut api = wire::origin(repository);
    for part in collection {
        api = format!("{api}/{part}");
    }
    Some(Place { api, project, name })
}

/// The page for people.
fn page_of(api: &str, site: &Site, number: u64) -> String {
    let (project, name) = (wire::escape_segment(site.owner()), wire::escape_segment(site.name()));
    format!("{api}/{project}/_git/{name}/pullrequest/{number}")
}

/// A [personal access token](https://learn.microsoft.com/en-us/azure/devops/organizations/accounts/use-personal-access-tokens-to-authenticate)
/// is the password of nobody; a server may know user names with passwords.
fn authorization(credentials: &Credentials, token: &SecretString) -> Option<(HeaderName, HeaderValue)> {
    let user = match (&credentials.token, &credentials.username) {
        (None, Some(username)) => username.trim(),
        _ => "",
    };
    Some((AUTHORIZATION, rest::basic(user, token)?))
}

#[cfg(test)]
mod tests;
