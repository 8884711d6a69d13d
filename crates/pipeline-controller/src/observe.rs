//! IO in: the world as one pipeline sees it. A target that cannot be read is data, not an error.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use pipeline_api::{Observe, Phase, Pipeline, Target};

use crate::context::Context;
use crate::heard;
use crate::observed::{Application, Observed, ObservedEnvironment, ObservedTarget, Unreadable};
use crate::strategies::secrets;

pub(crate) mod application;
pub(crate) mod applications;
mod cache;
pub(crate) mod clusters;
pub(crate) mod followers;
mod reader;

/// Reads everything that deciding about `pipeline` needs.
pub(crate) async fn observe(ctx: &Context, pipeline: &Pipeline) -> Observed {
    // Its names may be anything, and would become parts of paths.
    if !pipeline.invalid().is_empty() || pipeline.metadata.deletion_timestamp.is_some() {
        return Observed::default();
    }
    let conflicts = ctx.claims.claim(pipeline).await;
    ctx.applications.follow(pipeline);
    let environments = join_all(pipeline.spec.environments.iter().map(async |environment| {
        let targets = environment.targets.iter();
        let targets = join_all(targets.map(|target| observe_target(ctx, pipeline, &environment.name, target))).await;
        (environment.name.clone(), ObservedEnvironment { targets })
    }));
    let (environments, secret_versions) = futures::join!(environments, secret_versions(ctx, pipeline));
    let looked_at = ctx.looks.of(pipeline);
    Observed { environments: environments.into_iter().collect(), secret_versions, looked_at, conflicts }
}

async fn observe_target(ctx: &Context, pipeline: &Pipeline, environment: &str, target: &Target) -> ObservedTarget {
    let application = match target.observe.unwrap_or_default() {
        Observe::Watch => ctx.applications.read(pipeline, target).await,
        Observe::Event => Ok(heard::application(pipeline, environment, target)),
    };
    ObservedTarget { namespace: target.namespace.clone(), cluster_ref: target.cluster_ref.clone(), application }
}

/// Only of failed promotions: a changed Secret is what a person may have mended.
async fn secret_versions(ctx: &Context, pipeline: &Pipeline) -> BTreeMap<String, String> {
    let environments = pipeline.status.iter().flat_map(|status| &status.environments);
    let failed = environments.filter(|(_, environment)| {
        environment.promotion.as_ref().is_some_and(|promotion| promotion.phase == Phase::Failed)
    });
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &pipeline.namespace().unwrap_or_default());
    let versions = failed.map(async |(name, _)| {
        let strategy = pipeline.promotion(name).ok()??.strategy;
        let mut found = Vec::new();
        for secret in secrets::names(&strategy).into_iter().flatten() {
            // Unreadable now and unreadable when it failed are alike: nothing was mended.
            found.push(api.get_metadata_opt(secret).await.ok().flatten()?.resource_version()?);
        }
        Some((name.clone(), secrets::version(found.into_iter())?))
    });
    join_all(versions).await.into_iter().flatten().collect()
}
