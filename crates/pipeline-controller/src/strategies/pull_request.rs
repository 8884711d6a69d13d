//! From a Pipeline to a pull request.

use pipeline_api::normalized::PullRequest;
use pipeline_api::{Pipeline, Provider};
use pipeline_secrets::SecretValues;
use promote_pr::edit::Target;
use promote_pr::{BranchName, Credentials, Promoter, RepoUrl, Request, State, host};

use super::{next_of_pull_request, refused};
use crate::causes::explain;
use crate::outcome::{Done, Failure, Next};
use crate::plan::Effect;
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
        State::Open => Done::Open { url },
        State::Merged => Done::Merged { url },
        State::Closed => Done::Closed { url },
        State::AlreadyApplied => Done::AlreadyApplied,
    })
}

/// What promote-pr is asked for. Pure.
///
/// # Errors
/// A field of the Pipeline that no repository or branch can have.
pub fn request(pipeline: &Pipeline, effect: &Effect, spec: &PullRequest) -> Result<Request, Failure> {
    let key = key::of(pipeline, &effect.environment, &effect.revision, effect.sequence);
    let marker = format!("{}:{}:{}", key.namespace, key.pipeline, key.environment);
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
        target: Target::Marker(marker),
        value: value::written(&pipeline.spec.app_ref.kind, &effect.revision).to_owned(),
        source_environment: Some(effect.source_environment.clone()),
        pipeline_link: None,
    })
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
    Ok(Credentials {
        username: values.username,
        password: values.password,
        token: values.token,
        identity: egress::Identity { ca: values.ca, ..egress::Identity::default() },
    })
}

fn provider(provider: Provider) -> host::Provider {
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
