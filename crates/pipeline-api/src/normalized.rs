//! A promotion in one form, whichever shape the manifest has, with every value checked.

use std::time::Duration;

use url::Url;

mod pull_request;
mod updates;

use crate::{
    DocumentSelector, Environment, FieldPath, Links, MergePolicy, ObserveApplication, Pipeline, Promotion as Spec,
    Provider, ShippedStrategy, WebhookFormat, rules,
};

/// The progress deadline of a Pipeline that sets none.
pub const PROGRESS_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// How to promote to an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// Where in the manifest it is said, for messages: `spec.promotion` or `spec.environments[1].promotion`.
    pub field: String,
    /// Whether an approval is needed first.
    pub manual: bool,
    /// By what means.
    pub strategy: Strategy,
    /// Name of the Secret whose `hmac-key` signs incoming events and approvals; see [`Pipeline::hmac_secret`] for whose counts.
    pub hmac_secret: Option<String>,
}

/// The means of a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A pull request to a configuration repository.
    PullRequest(Box<PullRequest>),
    /// An event to a system of the user's own.
    Webhook(Webhook),
    /// A Kubernetes Event that Flux' notification-controller forwards.
    Notification,
}

/// A promotion by pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Where in the manifest it is said, for messages: `spec.promotion.pullRequest`.
    pub field: String,
    /// The repository: `https` or `ssh`, with a host, without a password. `git@host:path` has become `ssh://git@host/path`.
    pub url: Url,
    /// The branch that the pull request is to be merged into.
    pub branch: String,
    /// Name of the Secret that holds the credentials.
    pub secret: String,
    /// The kind of host; none: to be known from the host name.
    pub provider: Option<Provider>,
    /// Base URL of the host's API: `https`, without credentials.
    pub api_url: Option<Url>,
    /// The fields to change in addition to those with a marker.
    pub updates: Vec<Update>,
    /// The words of pull request and commit.
    pub text: Text,
    /// Labels, reviewers and the like.
    pub attributes: Attributes,
    /// Who merges.
    pub merge: MergePolicy,
}

/// The words of a pull request and its commit: templates, not checked here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The title.
    pub title: Option<String>,
    /// The text.
    pub body: Option<String>,
    /// The commit's message.
    pub commit_message: Option<String>,
    /// The pages that the text links.
    pub links: Links,
}

/// What a reviewer finds on a pull request beside its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Names of its labels.
    pub labels: Vec<String>,
    /// Login names of those whose review is asked for.
    pub reviewers: Vec<String>,
    /// Names of the teams whose review is asked for.
    pub team_reviewers: Vec<String>,
    /// Login names of those it is assigned to.
    pub assignees: Vec<String>,
    /// Title of its milestone.
    pub milestone: Option<String>,
    /// Whether it opens as a draft.
    pub draft: bool,
}

/// A field to change; presets have become paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Where in the manifest it is said, for messages: `spec.promotion.pullRequest.updates[0]`.
    pub field: String,
    /// Path or glob of the files, from the root of the repository.
    pub file: String,
    /// Which documents of the files.
    pub document: DocumentSelector,
    /// Path of the field in the document.
    pub path: String,
    /// Template of the value; none: what is usual for the kind of the application.
    pub value: Option<String>,
}

/// A promotion by webhook; at least one of the two is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where to send the event, unless the Secret has an `address`: `https`, without credentials.
    pub url: Option<Url>,
    /// Name of the Secret that holds address, proxy, token and headers.
    pub secret: Option<String>,
    /// What the receiver understands.
    pub format: WebhookFormat,
    /// Longest time that one attempt may take.
    pub timeout: Duration,
    /// Name of the Secret that holds certificates.
    pub cert_secret: Option<String>,
    /// Name of the Secret that holds the proxy.
    pub proxy_secret: Option<String>,
}

/// [`Webhook::timeout`] where the manifest has none, as
/// [Flux](https://fluxcd.io/flux/components/notification/providers/#timeout) has it.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// What is wrong with a manifest, and where. Never holds the value, for it may be a credential in the wrong place.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Path of the field, for example `spec.environments[1].promotion.pullRequest.url`.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a field.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no environment of that name.
    #[error("there is no environment {0:?}; name one of spec.environments")]
    UnknownEnvironment(String),
    /// There are no environments.
    #[error("is empty; name at least one environment")]
    NoEnvironments,
    /// Two environments have this name.
    #[error("is also the name of an earlier environment; environments must have different names")]
    DuplicateEnvironment,
    /// Not a DNS label.
    #[error("{}", rules::LABEL)]
    NotLabel,
    /// Not the name of an object.
    #[error("{}", rules::OBJECT_NAME)]
    NotObjectName,
    /// None or more than one of the strategies.
    #[error("{}", rules::ONE_STRATEGY)]
    NotOneStrategy,
    /// Fields of both shapes.
    #[error("{}", rules::ONE_SHAPE)]
    TwoShapes,
    /// Neither a URL nor a Secret that could hold one.
    #[error("{}", rules::WEBHOOK_ADDRESS)]
    NoAddress,
    /// Not a branch name.
    #[error("{}", rules::BRANCH)]
    NotBranch,
    /// Not a URL at all.
    #[error("is not a URL ({0}); write it as https://host/path")]
    NotUrl(url::ParseError),
    /// A scheme that is not allowed here.
    #[error("must begin with {0}")]
    Scheme(&'static str),
    /// No host.
    #[error("names no host; write it as https://host/path")]
    NoHost,
    /// Not a duration, or too short or too long.
    #[error("{}", rules::TIMEOUT)]
    NotTimeout,
    /// None or more than one way to name a field.
    #[error("{}", rules::ONE_FIELD)]
    NotOneField,
    /// A document selector beside a preset.
    #[error("{}", rules::DOCUMENT_OF_PATH)]
    DocumentOfPreset,
    /// Not a path in a repository.
    #[error("{}", rules::FILE)]
    NotFile,
    /// Not the name of an image.
    #[error("{}", rules::IMAGE_NAME)]
    NotImageName,
    /// Not a duration.
    #[error("{}", rules::DURATION)]
    NotDuration,
    /// Not names.
    #[error("{}", rules::NAMES)]
    NotNames,
    /// A draft that is to be merged.
    #[error("{}", rules::DRAFTS_STAY)]
    MergeOfDraft,
    /// A merge policy without a pull request.
    #[error("{}", rules::MERGE_OF_PULL_REQUEST)]
    MergeWithoutPullRequest,
    /// Not the path of a field.
    #[error("{}", rules::FIELD_PATH)]
    NotFieldPath,
    /// Credentials in a URL.
    #[error("must not hold credentials; put them into the Secret that secretRef names")]
    Credentials,
}

impl Pipeline {
    /// How to promote to an environment: its own `promotion`, else the pipeline's; `None` if there is neither.
    ///
    /// # Errors
    ///
    /// The first field of that promotion that is wrong, or an environment that the Pipeline does not have.
    pub fn promotion(&self, environment: &str) -> Result<Option<Promotion>, Invalid> {
        let found = self.spec.environments.iter().enumerate().find(|(_, candidate)| candidate.name == environment);
        let Some((index, found)) = found else {
            return Err(invalid("spec.environments", Problem::UnknownEnvironment(environment.to_owned())));
        };
        let promotion = match (&found.promotion, &self.spec.promotion) {
            (Some(own), _) => normalize(&format!("spec.environments[{index}].promotion"), own)?,
            (None, Some(shared)) => normalize("spec.promotion", shared)?,
            (None, None) => return Ok(None),
        };
        match found.merge {
            Some(merge) => {
                pull_request::with_merge(promotion, merge, format!("spec.environments[{index}].merge")).map(Some)
            }
            None => Ok(Some(promotion)),
        }
    }

    /// Name of the Secret whose `hmac-key` signs events and approvals of an environment: that of its own `promotion`, else the
    /// pipeline's. So an environment of its own way, or a name that is no environment's, is not open to the unsigned.
    #[must_use]
    pub fn hmac_secret(&self, environment: &str) -> Option<&str> {
        let own = self.spec.environments.iter().find(|candidate| candidate.name == environment);
        let promotions = [own.and_then(|own| own.promotion.as_ref()), self.spec.promotion.as_ref()];
        promotions.into_iter().flatten().find_map(|promotion| {
            let shipped = promotion.strategy.as_ref().and_then(|strategy| strategy.secret_ref.as_ref());
            promotion.hmac_secret_ref.as_deref().or_else(|| shipped.map(|secret| secret.name.as_str()))
        })
    }

    /// How long an environment may take to become ready at a revision that was delivered to it.
    #[must_use]
    pub fn progress_deadline(&self) -> Duration {
        let own = self.spec.progress_deadline.as_deref().and_then(rules::duration_of);
        own.unwrap_or(PROGRESS_DEADLINE)
    }

    /// Everything that is wrong with the spec. The API server refuses the same, but for objects that were stored before
    /// it knew the rules.
    #[must_use]
    pub fn invalid(&self) -> Vec<Invalid> {
        let spec = &self.spec;
        let mut wrong = Vec::new();
        check(&mut wrong, rules::is_object_name(&spec.app_ref.name), "spec.appRef.name", Problem::NotObjectName);
        if let Some(observe) = &spec.app_ref.observe {
            check_observe(&mut wrong, observe);
        }
        check(&mut wrong, !spec.environments.is_empty(), "spec.environments", Problem::NoEnvironments);
        let deadline = spec.progress_deadline.as_deref();
        let deadline = deadline.is_none_or(|text| rules::duration_of(text).is_some());
        check(&mut wrong, deadline, "spec.progressDeadline", Problem::NotDuration);
        if let Some(promotion) = &spec.promotion {
            wrong.extend(normalize("spec.promotion", promotion).err());
        }
        for (index, environment) in spec.environments.iter().enumerate() {
            let earlier = spec.environments.iter().take(index).any(|other| other.name == environment.name);
            let field = format!("spec.environments[{index}]");
            check(&mut wrong, !earlier, &format!("{field}.name"), Problem::DuplicateEnvironment);
            check_environment(&mut wrong, &field, environment);
            let merge = pull_request::check_merge(environment, self.spec.promotion.as_ref());
            wrong.extend(merge.err().map(|problem| invalid(format!("{field}.merge"), problem)));
        }
        wrong
    }
}

fn check(wrong: &mut Vec<Invalid>, right: bool, field: &str, problem: Problem) {
    if !right {
        wrong.push(invalid(field, problem));
    }
}

fn check_observe(wrong: &mut Vec<Invalid>, observe: &ObserveApplication) {
    let right = |path: &str| path.parse::<FieldPath>().is_ok();
    let revision = observe.revision.as_deref().is_none_or(right);
    check(wrong, revision, "spec.appRef.observe.revision", Problem::NotFieldPath);
    let ready = observe.ready.as_ref().is_none_or(|ready| right(&ready.path));
    check(wrong, ready, "spec.appRef.observe.ready.path", Problem::NotFieldPath);
}

fn check_environment(wrong: &mut Vec<Invalid>, field: &str, environment: &Environment) {
    check(wrong, rules::is_label(&environment.name), &format!("{field}.name"), Problem::NotLabel);
    for (index, target) in environment.targets.iter().enumerate() {
        let field = format!("{field}.targets[{index}]");
        check(wrong, rules::is_label(&target.namespace), &format!("{field}.namespace"), Problem::NotLabel);
        if let Some(cluster) = &target.cluster_ref {
            let name = format!("{field}.clusterRef.name");
            check(wrong, rules::is_object_name(&cluster.name), &name, Problem::NotObjectName);
            let namespace = cluster.namespace.as_deref().is_none_or(rules::is_label);
            check(wrong, namespace, &format!("{field}.clusterRef.namespace"), Problem::NotLabel);
        }
    }
    if let Some(promotion) = &environment.promotion {
        wrong.extend(normalize(&format!("{field}.promotion"), promotion).err());
    }
}

fn normalize(field: &str, spec: &Spec) -> Result<Promotion, Invalid> {
    let seed = spec.pull_request.is_some() || spec.webhook.is_some() || spec.hmac_secret_ref.is_some();
    if seed && spec.strategy.is_some() {
        return Err(invalid(field, Problem::TwoShapes));
    }
    let (strategy, hmac_secret) = match (&spec.pull_request, &spec.webhook, &spec.strategy) {
        (Some(pull_request), None, None) => {
            let pull_request = pull_request::normalize(format!("{field}.pullRequest"), pull_request)?;
            (Strategy::PullRequest(Box::new(pull_request)), spec.hmac_secret_ref.as_ref())
        }
        (None, Some(webhook), None) => {
            let field = format!("{field}.webhook");
            if webhook.url.is_none() && webhook.secret_ref.is_none() {
                return Err(invalid(field, Problem::NoAddress));
            }
            let secret = |name: &str, secret: &Option<String>| {
                secret.as_ref().map(|secret| object_name(format!("{field}.{name}"), secret)).transpose()
            };
            let strategy = Strategy::Webhook(Webhook {
                url: https_url(&format!("{field}.url"), webhook.url.as_deref())?,
                secret: secret("secretRef", &webhook.secret_ref)?,
                format: webhook.format.unwrap_or_default(),
                timeout: match &webhook.timeout {
                    None => WEBHOOK_TIMEOUT,
                    Some(text) => rules::parse_timeout(text)
                        .ok_or_else(|| invalid(format!("{field}.timeout"), Problem::NotTimeout))?,
                },
                cert_secret: secret("certSecretRef", &webhook.cert_secret_ref)?,
                proxy_secret: secret("proxySecretRef", &webhook.proxy_secret_ref)?,
            });
            (strategy, spec.hmac_secret_ref.as_ref())
        }
        (None, None, Some(shipped)) => {
            (shipped_strategy(field, shipped)?, shipped.secret_ref.as_ref().map(|secret| &secret.name))
        }
        _ => return Err(invalid(field, Problem::NotOneStrategy)),
    };
    let hmac_field = if spec.strategy.is_some() { "strategy.secretRef.name" } else { "hmacSecretRef" };
    let hmac_secret = hmac_secret.map(|name| object_name(format!("{field}.{hmac_field}"), name)).transpose()?;
    Ok(Promotion { field: field.to_owned(), manual: spec.manual.unwrap_or_default(), strategy, hmac_secret })
}

fn shipped_strategy(field: &str, shipped: &ShippedStrategy) -> Result<Strategy, Invalid> {
    match (&shipped.pull_request, &shipped.notification) {
        (Some(pull_request), None) => {
            let field = format!("{field}.strategy.pull-request");
            Ok(Strategy::PullRequest(Box::new(PullRequest {
                field: field.clone(),
                url: repository_url(&format!("{field}.url"), &pull_request.url)?,
                branch: branch(format!("{field}.baseBranch"), &pull_request.base_branch)?,
                secret: object_name(format!("{field}.secretRef.name"), &pull_request.secret_ref.name)?,
                provider: Some(pull_request.type_.into()),
                api_url: None,
                updates: Vec::new(),
                text: Text::default(),
                attributes: Attributes::default(),
                merge: MergePolicy::default(),
            })))
        }
        (None, Some(_)) => Ok(Strategy::Notification),
        _ => Err(invalid(field, Problem::NotOneStrategy)),
    }
}

/// Accepts git's short form `user@host:path` too.
/// <https://git-scm.com/docs/git-clone#_git_urls>
fn repository_url(field: &str, text: &str) -> Result<Url, Invalid> {
    const SCHEMES: &str = "https:// or ssh://, or be user@host:path";
    let long = match text.split_once(':') {
        Some((address, path)) if address.contains('@') && !address.contains('/') => {
            Some(format!("ssh://{address}/{}", path.trim_start_matches('/')))
        }
        _ => None,
    };
    let url = Url::parse(long.as_deref().unwrap_or(text)).map_err(|error| invalid(field, Problem::NotUrl(error)))?;
    match url.scheme() {
        "https" => no_credentials(field, url),
        "ssh" if url.password().is_some() => Err(invalid(field, Problem::Credentials)),
        "ssh" if url.host_str().is_none_or(str::is_empty) => Err(invalid(field, Problem::NoHost)),
        "ssh" => Ok(url),
        _ => Err(invalid(field, Problem::Scheme(SCHEMES))),
    }
}

fn https_url(field: &str, text: Option<&str>) -> Result<Option<Url>, Invalid> {
    let Some(text) = text else { return Ok(None) };
    let url = Url::parse(text).map_err(|error| invalid(field, Problem::NotUrl(error)))?;
    if url.scheme() != "https" {
        return Err(invalid(field, Problem::Scheme("https://")));
    }
    no_credentials(field, url).map(Some)
}

fn no_credentials(field: &str, url: Url) -> Result<Url, Invalid> {
    if url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err(invalid(field, Problem::Credentials))
    }
}

fn object_name(field: String, text: &str) -> Result<String, Invalid> {
    if rules::is_object_name(text) { Ok(text.to_owned()) } else { Err(invalid(field, Problem::NotObjectName)) }
}

fn branch(field: String, text: &str) -> Result<String, Invalid> {
    if rules::is_branch(text) { Ok(text.to_owned()) } else { Err(invalid(field, Problem::NotBranch)) }
}

fn invalid(field: impl Into<String>, problem: Problem) -> Invalid {
    Invalid { field: field.into(), problem }
}

#[cfg(test)]
mod tests;
