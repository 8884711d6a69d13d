//! IO out: carries effects out. What fails is a value.

use futures::future::join_all;
use kube::ResourceExt;
use pipeline_api::Pipeline;
use tracing::Instrument as _;

use crate::context::Context;
use crate::leader::{Leader, NotLeading};
use crate::outcome::{Done, Failure, Next, Outcome};
use crate::plan::{Effect, Plan, Withdrawal};
use crate::strategies::secrets::{self, Secrets};
use crate::telemetry::trace;

/// Carries all effects and withdrawals of `plan` out at the same time, as `leader` allows it: when each begins, and, by the gate of
/// what calls others, before each of its requests.
///
/// # Errors
/// Somebody else may lead by now, and what was not begun is left to them.
///
/// *Idempotency*: an effect's key finds what an earlier try did, so that a crash at any moment is mended by another try.
pub(crate) async fn act(
    ctx: &Context,
    leader: &Leader,
    pipeline: &Pipeline,
    plan: &Plan,
) -> Result<Vec<Outcome>, NotLeading> {
    let effects = join_all(plan.effects.iter().map(async |effect| {
        leader.check()?;
        Ok(perform(ctx, pipeline, effect).instrument(trace::effect(pipeline, effect)).await)
    }));
    let withdrawals = join_all(plan.withdrawals.iter().map(async |withdrawal| {
        leader.check()?;
        Ok(withdraw(ctx, pipeline, withdrawal).instrument(trace::withdrawal(pipeline, withdrawal)).await)
    }));
    let (effects, withdrawals) = futures::join!(effects, withdrawals);
    effects.into_iter().chain(withdrawals).collect()
}

async fn perform(ctx: &Context, pipeline: &Pipeline, effect: &Effect) -> Outcome {
    let environment = effect.environment.clone();
    let secrets = match read(ctx, pipeline, secrets::names(&effect.strategy)).await {
        Ok(secrets) => secrets,
        Err(failure) => {
            return Outcome { environment, result: Err(failure), secret_version: None };
        }
    };
    let began = ctx.now();
    let result = ctx.strategies.run(pipeline, effect, &secrets, began).await;
    ctx.looks.note(pipeline, &environment, began);
    ctx.metrics.attempted(&effect.strategy, &result);
    Outcome { environment, result, secret_version: secrets.version() }
}

async fn withdraw(ctx: &Context, pipeline: &Pipeline, withdrawal: &Withdrawal) -> Outcome {
    let credentials = Some(withdrawal.repository.secret_ref.as_str());
    let result = match read(ctx, pipeline, [credentials, None, None]).await {
        Ok(secrets) => {
            let withdrawn = ctx.strategies.withdraw(pipeline, withdrawal, secrets.credentials.as_ref()).await;
            withdrawn.map(|()| Done::Withdrawn)
        }
        Err(failure) => Err(failure),
    };
    Outcome { environment: withdrawal.environment.clone(), result, secret_version: None }
}

/// The Secrets of these names, in the Pipeline's own namespace only.
async fn read(ctx: &Context, pipeline: &Pipeline, names: [Option<&str>; 3]) -> Result<Secrets, Failure> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let read = names.map(async |name| match name {
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
