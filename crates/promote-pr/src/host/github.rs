//! [GitHub's REST API](https://docs.github.com/en/rest/pulls/pulls), on github.com and on Enterprise Server.

pub(crate) mod app;
mod build;
mod merge;
mod parse;

use std::sync::Arc;

use async_trait::async_trait;
use egress::Retry;
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Response, Uri};
use http_body_util::BodyExt as _;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::service::middleware::extra_headers::ExtraHeadersLayer;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use secrecy::ExposeSecret as _;
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, RepoUrl};
use crate::request::{Attributes, Credentials};

use super::line::LineError;
use super::wire::{self, Answer, Ask, MAX_PAGES, Site};
use super::{
    Capabilities, Created, Host, Line, Merge, Merged, NewPullRequest, Provider, PullRequest, PullRequestState,
    most_telling,
};

/// The most that GitHub puts on [a page](https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api).
const PAGE_SIZE: usize = 100;

/// What GitHub can do. Drafts, and auto-merge in private repositories, depend on the
/// [plan](https://docs.github.com/en/get-started/learning-about-github/githubs-plans).
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    title: 256,
    body: 65_536,
    draft: true,
    labels: true,
    reviewers: true,
    team_reviewers: true,
    assignees: true,
    milestone: true,
    auto_merge: true,
    immediate_merge: true,
};

/// A repository on GitHub.
pub(super) struct GitHub {
    crab: Octocrab,
    /// Where the REST API begins, behind the origin.
    rest: String,
    /// Where `/graphql` is, behind the origin.
    graphql: String,
    site: Site,
}

impl GitHub {
    pub(super) fn open(
        repository: &RepoUrl,
        api_url: Option<&Url>,
        credentials: &Credentials,
        line: Line,
    ) -> Result<Self, Error> {
        let not_a_repository =
            || Error::NotARepository { repository: repository.to_string(), provider: Provider::GitHub };
        let owner_and_name = repository.owner_and_name().ok_or_else(not_a_repository)?;
        let api = wire::base(api_url, &build::api_of(repository))?;
        let no_token = || Error::NoToken { host: repository.host().to_owned() };
        let token = wire::token(credentials).ok_or_else(no_token)?;
        let bad_token = || Error::BadToken { host: repository.host().to_owned() };
        HeaderValue::from_str(token.expose_secret()).map_err(|_error| bad_token())?;
        let site = Site::new(Provider::GitHub, repository, owner_and_name, &api, token.clone())?;
        let origin = api
            .origin()
            .ascii_serialization()
            .parse::<Uri>()
            .map_err(|_error| Error::BadApiUrl { url: api.to_string(), reason: "it is no URL" })?;
        let rest = api.path().trim_end_matches('/').to_owned();
        let graphql = build::graphql_of(&rest).to_owned();
        let headers = vec![
            (ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
            (HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28")),
        ];
        let built = OctocrabBuilder::new_empty()
            .with_service(line)
            .with_layer(&ExtraHeadersLayer::new(Arc::new(headers)))
            .with_layer(&BaseUriLayer::new(origin))
            .with_auth(AuthState::AccessToken { token })
            .build();
        match built {
            Ok(crab) => Ok(Self { crab, rest, graphql, site }),
            Err(never) => match never {},
        }
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        self.send_below(&self.rest, ask).await
    }

    async fn send_below(&self, base: &str, ask: Ask) -> Result<Answer, Error> {
        let failed = |error: octocrab::Error| {
            let (source, retry): (Box<dyn std::error::Error + Send + Sync>, _) = match error {
                octocrab::Error::Service { source, .. } => {
                    let retry = source.downcast_ref::<LineError>().map_or(Retry::Later, LineError::retry);
                    (source, retry)
                }
                other => (Box::new(other), Retry::Later),
            };
            Error::Transport { call: self.site.call(ask.action), source, retry }
        };
        let request = ask.request(base).map_err(|error| Error::Transport {
            call: self.site.call(ask.action),
            source: Box::new(error),
            retry: Retry::Never,
        })?;
        let (head, body) = self.crab.execute(request).await.map_err(failed)?.into_parts();
        let body = body.collect().await.map_err(failed)?.to_bytes();
        Ok(self.site.answer(&ask, Response::from_parts(head, body)))
    }

    /// All pages of a list.
    async fn list<T>(
        &self,
        ask: impl Fn(usize) -> Ask + Send + Sync,
        parse: impl Fn(&Answer) -> Result<Vec<T>, Error> + Send + Sync,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let answer = self.send(ask(page)).await?.success()?;
            all.extend(parse(&answer)?);
            if !answer.has_next() {
                break;
            }
            if page == MAX_PAGES {
                return Err(answer.too_long(PAGE_SIZE));
            }
        }
        Ok(all)
    }

    /// Asks for the reviews that nobody was asked for yet. Who gave a review, or was taken off the list by a person, is not
    /// asked again.
    async fn ask_reviews(&self, pull: &PullRequest, mut missing: Attributes) -> Result<(), Error> {
        if missing.reviewers.is_empty() && missing.team_reviewers.is_empty() {
            return Ok(());
        }
        let events = self.list(|page| build::events(&self.site, pull.number, page), parse::events).await?;
        for event in events {
            missing = missing.missing_in(&event.asked());
        }
        if missing.reviewers.is_empty() && missing.team_reviewers.is_empty() {
            return Ok(());
        }
        let ask = build::ask_reviews(&self.site, pull.number, &missing.reviewers, &missing.team_reviewers);
        self.send(ask).await?.success().map(drop)
    }

    async fn assign(&self, pull: &PullRequest, assignees: &[String]) -> Result<(), Error> {
        if assignees.is_empty() {
            return Ok(());
        }
        let answer = self.send(build::assign(&self.site, pull.number, assignees)).await?.success()?;
        let wanted = Attributes { assignees: assignees.to_vec(), ..Attributes::default() };
        let seen = answer.json::<parse::Assigned>()?;
        let seen = Attributes { assignees: parse::logins(seen.assignees), ..Attributes::default() };
        match wanted.missing_in(&seen).assignees.first() {
            Some(name) => Err(answer.unknown("assignee", name)),
            None => Ok(()),
        }
    }

    async fn set_milestone(&self, pull: &PullRequest, title: &str) -> Result<(), Error> {
        let all = self
            .list(|page| build::milestones(&self.site, page), |answer| answer.json::<Vec<parse::Milestone>>())
            .await?;
        let Some(number) = all.into_iter().find(|milestone| milestone.title == title).and_then(|found| found.number)
        else {
            let call = self.site.call("set the milestone of a pull request");
            return Err(Error::Unknown { call, what: "milestone", name: title.to_owned() });
        };
        self.send(build::set_milestone(&self.site, pull.number, number)).await?.success().map(drop)
    }
}

#[async_trait]
impl Host for GitHub {
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error> {
        let pulls = self.list(|page| build::find(&self.site, head, base, page), parse::list).await?;
        Ok(most_telling(pulls.into_iter().filter(|pull| pull.head == head.as_str() && pull.base == base.as_str())))
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls = self.list(|page| build::list_open(&self.site, page), parse::list).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        parse::created(&self.site, self.send(build::create(&self.site, new)).await?)
    }

    async fn update(&self, pull: &PullRequest, title: &str, body: &str) -> Result<(), Error> {
        self.send(build::update(&self.site, pull.number, title, body)).await?.success().map(drop)
    }

    async fn dress(&self, pull: &PullRequest, attributes: &Attributes) -> Result<(), Error> {
        let missing = attributes.missing_in(&pull.attributes);
        if !missing.labels.is_empty() {
            self.send(build::add_labels(&self.site, pull.number, &missing.labels)).await?.success()?;
        }
        self.assign(pull, &missing.assignees).await?;
        if let Some(title) = &missing.milestone {
            self.set_milestone(pull, title).await?;
        }
        self.ask_reviews(pull, missing).await
    }

    async fn merge(&self, pull: &PullRequest, how: Merge) -> Result<Merged, Error> {
        let view = merge::view(&self.site, pull);
        let view = merge::parse_view(self.send_below(&self.graphql, view).await?)?;
        match merge::decide(pull, how, &view) {
            merge::Step::Known(merged) => Ok(merged),
            merge::Step::Now => merge::parse_merged(self.send(merge::now(&self.site, pull, &view)).await?),
            merge::Step::Schedule => {
                let answer = self.send_below(&self.graphql, merge::schedule(pull, &view)).await?;
                match merge::parse_scheduled(answer)? {
                    merge::Scheduled::Done => Ok(Merged::Scheduled),
                    merge::Scheduled::MergeNow => {
                        merge::parse_merged(self.send(merge::now(&self.site, pull, &view)).await?)
                    }
                    merge::Scheduled::NotYet(reason) => Ok(Merged::NotYet(reason)),
                }
            }
        }
    }

    async fn close(&self, number: u64) -> Result<(), Error> {
        self.send(build::close(&self.site, number)).await?.success().map(drop)
    }

    async fn comment(&self, number: u64, body: &str) -> Result<(), Error> {
        let comments = self.list(|page| build::comments(&self.site, number, page), parse::comments).await?;
        if comments.iter().any(|comment| comment.trim() == body.trim()) {
            return Ok(());
        }
        self.send(build::comment(&self.site, number, body)).await?.success().map(drop)
    }

    async fn delete_branch(&self, branch: &BranchName) -> Result<bool, Error> {
        parse::deleted(self.send(build::delete_branch(&self.site, branch)).await?)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}

#[cfg(test)]
mod tests;
