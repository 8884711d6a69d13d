//! `pipelinectl promote`

use anyhow::{Context as _, bail};
use kube::ResourceExt as _;
use pipeline_api::normalized::Strategy;
use pipeline_controller::outcome::{Done, Next};
use pipeline_controller::strategies;
use serde::Serialize;

use crate::args::PromoteArgs;
use crate::output::{Status, data, error, print, say};
use crate::promotion::{Network, Promotion};

/// What came of it, for other programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Result<'a> {
    namespace: String,
    pipeline: String,
    environment: &'a str,
    revision: &'a str,
    sequence: u32,
    promotion_id: String,
    strategy: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

pub(crate) fn run(args: &PromoteArgs) -> anyhow::Result<Status> {
    let promotion = Promotion::read(&args.promotion, args.sequence)?;
    let Promotion { pipeline, effect, .. } = &promotion;
    if pipeline.spec.suspend {
        bail!("Pipeline {}: spec.suspend: is set, so nothing is promoted", pipeline.name_any());
    }
    let secrets = promotion.secrets()?;
    let network = Network::new(&args.network)?;
    let attempt = network.strategies.run(pipeline, effect, &secrets, effect.started);
    let done = match network.run(attempt)? {
        Ok(done) => done,
        Err(failure) => {
            error(&failure.message);
            if failure.nothing_matched {
                return Ok(Status::NothingMatched);
            }
            match failure.next {
                Next::Never | Next::Review => {}
                Next::Backoff { .. } | Next::Turn | Next::After(_) => say("The same command may succeed later."),
            }
            return Ok(Status::Failed);
        }
    };

    let (state, url) = match &done {
        Done::Open { url, .. } => ("Open", Some(url.as_str())),
        Done::Merged { url } => ("Merged", Some(url.as_str())),
        Done::Closed { url } => ("Closed", Some(url.as_str())),
        Done::AlreadyApplied => ("AlreadyApplied", None),
        Done::Delivered => ("Delivered", None),
        Done::Withdrawn => ("Superseded", None),
    };
    match args.output {
        Some(format) => {
            let result = Result {
                namespace: pipeline.namespace().context("the Pipeline has no namespace")?,
                pipeline: pipeline.name_any(),
                environment: &effect.environment,
                revision: &effect.revision,
                sequence: effect.sequence,
                promotion_id: strategies::id(pipeline, effect).to_string(),
                strategy: strategy(&effect.strategy),
                state,
                url,
            };
            data(&result, format)?;
        }
        None => print(&sentence(&done, &effect.revision, &effect.environment))?,
    }
    if matches!(done, Done::Closed { .. }) {
        error(format_args!(
            "somebody closed the pull request without merging it; to ask again, raise --sequence to {}",
            effect.sequence.saturating_add(1)
        ));
        return Ok(Status::Failed);
    }
    Ok(Status::Done)
}

fn strategy(strategy: &Strategy) -> &'static str {
    match strategy {
        Strategy::PullRequest(_) => "PullRequest",
        Strategy::Webhook(_) => "Webhook",
        Strategy::Notification => "Notification",
    }
}

fn sentence(done: &Done, revision: &str, environment: &str) -> String {
    match done {
        Done::Open { url, .. } => format!("The pull request for {revision} to {environment} is open: {url}\n"),
        Done::Merged { url } => format!("The pull request for {revision} to {environment} is merged: {url}\n"),
        Done::Closed { url } => format!("The pull request for {revision} to {environment} is closed: {url}\n"),
        Done::AlreadyApplied => format!("Nothing to change: {environment} has {revision} already.\n"),
        Done::Delivered => format!("The event for {revision} to {environment} is delivered.\n"),
        Done::Withdrawn => format!("The promotion of {revision} to {environment} is withdrawn.\n"),
    }
}
