//! IO out: carries effects out. What fails is a value.

use futures::future::join_all;
use kube::ResourceExt;
use pipeline_api::Pipeline;
use pipeline_api::normalized::Strategy;
use pipeline_secrets::SecretValues;

use crate::context::Context;
use crate::outcome::{Failure, Next, Outcome};
use crate::plan::Effect;

/// Carries all `effects` out at the same time.
///
/// *Idempotency*: an effect's key finds what an earlier try did, so that a crash at any moment is mended by another try.
pub(crate) async fn act(ctx: &Context, pipeline: &Pipeline, effects: &[Effect]) -> Vec<Outcome> {
    join_all(effects.iter().map(|effect| perform(ctx, pipeline, effect))).await
}

async fn perform(ctx: &Context, pipeline: &Pipeline, effect: &Effect) -> Outcome {
    let environment = effect.environment.clone();
    let secret = match secret(ctx, pipeline, effect).await {
        Ok(secret) => secret,
        Err(failure) => {
            return Outcome { environment, result: Err(failure), secret_version: None };
        }
    };
    let secret_version = secret.as_ref().and_then(|secret| secret.resource_version.clone());
    let began = ctx.now();
    let result = ctx.strategies.run(pipeline, effect, secret.as_ref(), began).await;
    ctx.looks.note(pipeline, &environment, began);
    Outcome { environment, result, secret_version }
}

/// The Secret that the strategy names, in the Pipeline's own namespace only.
async fn secret(ctx: &Context, pipeline: &Pipeline, effect: &Effect) -> Result<Option<SecretValues>, Failure> {
    let name = match &effect.strategy {
        Strategy::PullRequest(pull_request) => Some(&pull_request.secret),
        Strategy::Webhook(webhook) => webhook.secret.as_ref(),
        Strategy::Notification => None,
    };
    let Some(name) = name else { return Ok(None) };
    let namespace = pipeline.namespace().unwrap_or_default();
    let read = pipeline_secrets::read(ctx.client.clone(), &namespace, name).await;
    read.map(Some).map_err(|error| Failure {
        message: error.to_string(),
        next: Next::Backoff { at_least: Default::default() },
        nothing_matched: false,
    })
}
