//! IO out: carries effects out. What fails is a value.

use futures::future::join_all;
use kube::ResourceExt;
use pipeline_api::Pipeline;
use pipeline_api::normalized::Strategy;

use crate::context::Context;
use crate::outcome::{Failure, Next, Outcome};
use crate::plan::Effect;
use crate::strategies::secrets::{self, Secrets};

/// Carries all `effects` out at the same time.
///
/// *Idempotency*: an effect's key finds what an earlier try did, so that a crash at any moment is mended by another try.
pub(crate) async fn act(ctx: &Context, pipeline: &Pipeline, effects: &[Effect]) -> Vec<Outcome> {
    join_all(effects.iter().map(|effect| perform(ctx, pipeline, effect))).await
}

async fn perform(ctx: &Context, pipeline: &Pipeline, effect: &Effect) -> Outcome {
    let environment = effect.environment.clone();
    let secrets = match read(ctx, pipeline, &effect.strategy).await {
        Ok(secrets) => secrets,
        Err(failure) => {
            return Outcome { environment, result: Err(failure), secret_version: None };
        }
    };
    let began = ctx.now();
    let result = ctx.strategies.run(pipeline, effect, &secrets, began).await;
    ctx.looks.note(pipeline, &environment, began);
    Outcome { environment, result, secret_version: secrets.version() }
}

/// The Secrets that the strategy names, in the Pipeline's own namespace only.
async fn read(ctx: &Context, pipeline: &Pipeline, strategy: &Strategy) -> Result<Secrets, Failure> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let read = secrets::names(strategy).map(async |name| match name {
        Some(name) => pipeline_secrets::read(ctx.client.clone(), &namespace, name).await.map(Some),
        None => Ok(None),
    });
    let values = join_all(read).await.into_iter().collect::<Result<Vec<_>, _>>();
    values.map(Secrets::new).map_err(|error| Failure {
        message: error.to_string(),
        next: Next::Backoff { at_least: Default::default() },
        nothing_matched: false,
    })
}
