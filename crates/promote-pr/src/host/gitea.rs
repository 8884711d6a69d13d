//! [Gitea's API](https://docs.gitea.com/api/next/), which Forgejo speaks as well.

mod build;
mod parse;

use async_trait::async_trait;
use egress::Retry;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION};
use serde_json::{Map, json};
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

/// The most that Gitea puts on a page unless [its settings](https://docs.gitea.com/administration/config-cheat-sheet#api-api)
/// say otherwise.
const PAGE_SIZE: usize = 50;

/// What makes a title that of a draft, unless [the settings](https://docs.gitea.com/administration/config-cheat-sheet#repository---pull-request-repositorypull-request)
/// say otherwise.
const DRAFT: [&str; 2] = [DRAFT_MARK, "[WIP]"];
const DRAFT_MARK: &str = "WIP:";

/// What Gitea can do. The title leaves room for the mark of a draft.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    title: 250,
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

/// A repository on Gitea.
pub(super) struct Gitea {
    line: Line,
    api: String,
    authorization: HeaderValue,
    site: Site,
}

impl Gitea {
    pub(super) fn open(
        provider: Provider,
        repository: &RepoUrl,
        api_url: Option<&Url>,
        credentials: &Credentials,
        line: Line,
    ) -> Result<Self, Error> {
        let not_a_repository = || Error::NotARepository { repository: repository.to_string(), provider };
        let (parents, name) = repository.owner_and_name().ok_or_else(not_a_repository)?;
        let (sub_path, owner) = parents.rsplit_once('/').unwrap_or(("", parents));
        let api = wire::base(api_url, &build::api_of(repository, sub_path))?;
        let no_token = || Error::NoToken { host: repository.host().to_owned() };
        let token = wire::token(credentials).ok_or_else(no_token)?;
        let bad_token = || Error::BadToken { host: repository.host().to_owned() };
        let authorization = build::authorization(credentials, &token).ok_or_else(bad_token)?;
        let site = Site::new(provider, repository, (owner, name), &api, token)?;
        Ok(Self { line, api: api.to_string(), authorization, site })
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        let failed = |error: LineError| Error::Transport {
            call: self.site.call(ask.action),
            retry: error.retry(),
            source: Box::new(error),
        };
        let mut request = ask.request(&self.api).map_err(|error| Error::Transport {
            call: self.site.call(ask.action),
            source: Box::new(error),
            retry: Retry::Never,
        })?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        let response = self.line.send(request).await.map_err(failed)?;
        Ok(self.site.answer(&ask, response))
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

    async fn add_labels(&self, pull: &PullRequest, labels: &[String]) -> Result<(), Error> {
        if labels.is_empty() {
            return Ok(());
        }
        let answer = self.send(build::add_labels(&self.site, pull.number, labels)).await?.success()?;
        let names = answer.json::<Vec<parse::Label>>()?.into_iter().map(|label| label.name).collect();
        let wanted = Attributes { labels: labels.to_vec(), ..Attributes::default() };
        match wanted.missing_in(&Attributes { labels: names, ..Attributes::default() }).labels.first() {
            Some(name) => Err(answer.unknown("label", name)),
            None => Ok(()),
        }
    }

    /// Sets what the pull request itself holds. Its list of assignees is replaced as a whole.
    async fn assign(&self, pull: &PullRequest, missing: &Attributes) -> Result<(), Error> {
        if missing.assignees.is_empty() && missing.milestone.is_none() {
            return Ok(());
        }
        let mut body = Map::new();
        if !missing.assignees.is_empty() {
            let all = pull.attributes.assignees.iter().chain(&missing.assignees).cloned().collect();
            body.insert("assignees".to_owned(), all);
        }
        if let Some(title) = &missing.milestone {
            let all = self
                .list(
                    |page| build::milestones(&self.site, title, page),
                    |answer| answer.json::<Vec<parse::Milestone>>(),
                )
                .await?;
            let Some(found) = all.into_iter().find(|milestone| milestone.title == *title) else {
                let call = self.site.call("set the milestone of a pull request");
                return Err(Error::Unknown { call, what: "milestone", name: title.clone() });
            };
            body.insert("milestone".to_owned(), found.id.into());
        }
        self.send(build::edit(&self.site, "assign a pull request", pull.number, body.into())).await?.success().map(drop)
    }

    /// Asks for the reviews that nobody was asked for yet. Who gave a review is not asked again.
    async fn ask_reviews(&self, pull: &PullRequest, missing: Attributes) -> Result<(), Error> {
        if missing.reviewers.is_empty() && missing.team_reviewers.is_empty() {
            return Ok(());
        }
        let parse = |answer: &Answer| answer.json::<Vec<parse::Review>>();
        let reviews = self.list(|page| build::reviews(&self.site, pull.number, page), parse).await?;
        let missing = missing.missing_in(&parse::asked(reviews));
        if missing.reviewers.is_empty() && missing.team_reviewers.is_empty() {
            return Ok(());
        }
        let ask = build::ask_reviews(&self.site, pull.number, &missing.reviewers, &missing.team_reviewers);
        let answer = self.send(ask).await?.success()?;
        let left = missing.missing_in(&parse::asked(parse(&answer)?));
        match (left.reviewers.first(), left.team_reviewers.first()) {
            (Some(name), _) => Err(answer.unknown("reviewer", name)),
            (None, Some(name)) => Err(answer.unknown("team reviewer", name)),
            (None, None) => Ok(()),
        }
    }
}

#[async_trait]
impl Host for Gitea {
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error> {
        let Some(any) = parse::found(self.send(build::find(&self.site, head, base)).await?)? else {
            return Ok(None);
        };
        if any.state == PullRequestState::Open {
            return Ok(Some(any));
        }
        let pulls = self.list(|page| build::list_all(&self.site, base, page), parse::list).await?;
        Ok(most_telling(pulls.into_iter().chain([any]).filter(|pull| pull.head == head.as_str())))
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls = self.list(|page| build::list_open(&self.site, page), parse::list).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        if !parse::branch(self.send(build::branch(&self.site, &new.head)).await?)? {
            return Ok(Created::HeadUnknown);
        }
        parse::created(self.send(build::create(&self.site, new)).await?)
    }

    async fn update(&self, pull: &PullRequest, title: &str, body: &str) -> Result<(), Error> {
        let body = json!({"title": build::marked(title, pull.attributes.draft), "body": body});
        self.send(build::edit(&self.site, "update a pull request", pull.number, body)).await?.success().map(drop)
    }

    async fn dress(&self, pull: &PullRequest, attributes: &Attributes) -> Result<(), Error> {
        let missing = attributes.missing_in(&pull.attributes);
        self.add_labels(pull, &missing.labels).await?;
        self.assign(pull, &missing).await?;
        self.ask_reviews(pull, missing).await
    }

    async fn merge(&self, pull: &PullRequest, how: Merge) -> Result<Merged, Error> {
        let style =
            self.send(build::settings(&self.site)).await?.success()?.json::<parse::Settings>()?.default_merge_style;
        parse::merged(self.send(build::merge(&self.site, pull, how, &style)).await?)
    }

    async fn close(&self, number: u64) -> Result<(), Error> {
        let body = json!({"state": "closed"});
        parse::closed(self.send(build::edit(&self.site, "close a pull request", number, body)).await?)
    }

    async fn comment(&self, number: u64, body: &str) -> Result<(), Error> {
        let comments = self.send(build::comments(&self.site, number)).await?.success()?;
        if parse::comments(&comments)?.iter().any(|comment| comment.trim() == body.trim()) {
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
