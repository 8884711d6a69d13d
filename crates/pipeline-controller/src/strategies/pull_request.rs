//! From a Pipeline to a pull request.

mod words;

use pipeline_api::normalized::{self, PullRequest};
use pipeline_api::{Pipeline, Provider, Repository};
use pipeline_secrets::{GitHubInstallation, SecretValues};
use promote_pr::edit::{Glob, Selector, Target, Update};
use promote_pr::value::Template;
use promote_pr::{
    Attributes, BranchName, Credentials, GitHubApp, Installation, Key, Links, MergePolicy, Promoter, RepoUrl, Request,
    SshIdentity, State, Templates, host,
};

use super::{next_of_pull_request, refused};
use crate::causes::explain;
use crate::outcome::{Done, Failure, Next};
use crate::plan::{Effect, Withdrawal};
use crate::{key, value};

/// Opens the promotion's pull request, or finds how it stands.
pub async fn run(
    promoter: &Promoter,
    pipeline: &Pipeline,
    effect: &Effect,
    spec: &PullRequest,
    secret: Option<&SecretValues>,
) -> Result<Done, Failure> {
    let request = request(pipeline, effect, spec)?;
    let credentials = credentials(secret)?;
    let promotion = promoter.promote(&request, &credentials).await.map_err(|error| Failure {
        message: explain(&error),
        next: next_of_pull_request(error.retry()),
        nothing_matched: matches!(error, promote_pr::Error::NoMatch { .. }),
    })?;
    let url = promotion.pull_request.map(|pull_request| pull_request.url).unwrap_or_default();
    Ok(match promotion.state {
        State::Open => Done::Open { url, held_up: promotion.held_up },
        State::Merged => Done::Merged { url },
        State::Closed => Done::Closed { url },
        State::AlreadyApplied => Done::AlreadyApplied,
    })
}

/// Closes the pull requests of the environment's promotions, and deletes their branches.
pub async fn withdraw(
    promoter: &Promoter,
    pipeline: &Pipeline,
    withdrawal: &Withdrawal,
    secret: Option<&SecretValues>,
) -> Result<(), Failure> {
    let Repository { url, branch, provider: kind, api_url, .. } = &withdrawal.repository;
    let recorded = |what: &str, error: &dyn std::fmt::Display| refused(format!("{what}: {error}"), Next::Never);
    let request = Request {
        key: key::of(pipeline, &withdrawal.environment, &withdrawal.revision, withdrawal.sequence),
        repository: url.parse::<RepoUrl>().map_err(|error| recorded("repository", &error))?,
        base: branch.parse::<BranchName>().map_err(|error| recorded("branch", &error))?,
        provider: kind.map(provider),
        api_url: api_url
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|error: url::ParseError| recorded("apiUrl", &error))?,
        updates: Vec::new(),
        source_environment: None,
        previous_revision: None,
        links: Links::default(),
        templates: Templates::default(),
        attributes: Attributes::default(),
        merge: MergePolicy::default(),
    };
    let withdrawn = promoter.withdraw(&request, &credentials(secret)?, &withdrawal.reason).await;
    withdrawn.map(drop).map_err(|error| Failure {
        message: explain(&error),
        next: next_of_pull_request(error.retry()),
        nothing_matched: false,
    })
}

/// What promote-pr is asked for. Pure.
///
/// # Errors
/// A field of the Pipeline that no repository, branch or edit can have, or a template that does not fit the revision.
pub fn request(pipeline: &Pipeline, effect: &Effect, spec: &PullRequest) -> Result<Request, Failure> {
    let key = key::of(pipeline, &effect.environment, &effect.revision, effect.sequence);
    let wrong = |problem: String| refused(problem, Next::Review);
    let updates = updates(pipeline, &key, spec).map_err(wrong)?;
    let links = words::links(spec, &key, effect).map_err(wrong)?;
    let templates = words::templates(spec).map_err(wrong)?;
    Ok(Request {
        key,
        repository: spec
            .url
            .as_str()
            .parse::<RepoUrl>()
            .map_err(|error| refused(format!("pullRequest.url: {error}"), Next::Review))?,
        base: spec
            .branch
            .parse::<BranchName>()
            .map_err(|error| refused(format!("pullRequest.branch: {error}"), Next::Review))?,
        provider: spec.provider.map(provider),
        api_url: spec.api_url.clone(),
        updates,
        source_environment: Some(effect.source_environment.clone()),
        previous_revision: effect.previous_revision.clone(),
        links,
        templates,
        attributes: words::attributes(&spec.attributes),
        merge: words::merge(spec.merge),
    })
}

/// Whether templates, paths and globs can be used at all. Pure.
///
/// # Errors
/// The field that cannot be used, and why.
pub fn check(spec: &PullRequest) -> Result<(), String> {
    words::templates(spec)?;
    words::link_templates(spec)?;
    spec.updates.iter().try_for_each(|update| fields(update).map(drop))
}

/// The marker, and what the spec names beyond it.
fn updates(pipeline: &Pipeline, key: &Key, spec: &PullRequest) -> Result<Vec<Update>, String> {
    let kind = &pipeline.spec.app_ref.kind;
    let usual = value::template(kind).map_err(|error| format!("spec.appRef.kind: {kind}: {error}"))?;
    let render = |template: &Template| template.render(&key.revision).map_err(|error| error.to_string());
    let marker = Target::Marker(format!("{}:{}:{}", key.namespace, key.pipeline, key.environment));
    let mut updates = vec![Update::new(marker, render(&usual)?)];
    for spec in &spec.updates {
        let (files, selector, template) = fields(spec)?;
        let value =
            render(template.as_ref().unwrap_or(&usual)).map_err(|error| format!("{}.value: {error}", spec.field))?;
        updates.push(Update { files: Some(files), target: Target::Path(selector), value });
    }
    Ok(updates)
}

/// An update in the terms of promote-pr, with the template of its value if it has one. Pure.
///
/// # Errors
/// The field that cannot be read, and why.
pub fn fields(update: &normalized::Update) -> Result<(Glob, Selector, Option<Template>), String> {
    let field = &update.field;
    let glob = update.file.parse::<Glob>().map_err(|error| format!("{field}.file: {error}"))?;
    let document = &update.document;
    let selector = Selector {
        path: update.path.clone(),
        kind: document.kind.clone(),
        name: document.name.clone(),
        namespace: document.namespace.clone(),
        api_version: document.api_version.clone(),
        document: document.index.and_then(|index| usize::try_from(index).ok()),
    };
    selector.check().map_err(|error| format!("{field}: path `{}`: {error}", update.path))?;
    let template = update.value.as_deref().map(str::parse::<Template>).transpose();
    Ok((glob, selector, template.map_err(|error| format!("{field}.value: {error}"))?))
}

/// The credentials in the terms of promote-pr. Pure.
///
/// # Errors
/// The Secret lacks a key, or a key cannot be used.
pub fn credentials(secret: Option<&SecretValues>) -> Result<Credentials, Failure> {
    let Some(secret) = secret else {
        return Ok(Credentials::default());
    };
    let values = secret.repository().map_err(|error| refused(explain(&error), Next::Review))?;
    let identity = values.identity();
    Ok(Credentials {
        username: values.username,
        password: values.password,
        token: values.token,
        app: values.app.map(|app| GitHubApp {
            app_id: app.id,
            installation: match app.installation {
                GitHubInstallation::Id(id) => Installation::Id(id),
                GitHubInstallation::Owner(owner) => Installation::Owner(owner),
            },
            private_key: app.private_key,
            api_url: app.base_url,
        }),
        signing: values
            .signing
            .map(|signing| promote_pr::git::SigningKey { key: signing.key, passphrase: signing.passphrase }),
        ssh: values.ssh.map(|ssh| SshIdentity {
            private_key: ssh.identity,
            passphrase: ssh.passphrase,
            known_hosts: ssh.known_hosts,
        }),
        identity,
    })
}

pub(crate) fn provider(provider: Provider) -> host::Provider {
    match provider {
        Provider::GitHub => host::Provider::GitHub,
        Provider::GitLab => host::Provider::GitLab,
        Provider::Gitea => host::Provider::Gitea,
        Provider::Forgejo => host::Provider::Forgejo,
        Provider::BitbucketServer => host::Provider::BitbucketServer,
        Provider::BitbucketCloud => host::Provider::BitbucketCloud,
        Provider::AzureDevOps => host::Provider::AzureDevOps,
    }
}
