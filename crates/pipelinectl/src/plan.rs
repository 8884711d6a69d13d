//! `pipelinectl plan`

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use pipeline_api::normalized::Strategy;
use pipeline_controller::strategies::pull_request;
use promote_pr::Request;
use promote_pr::edit::{Code, Edited, Effect, Limits};

use crate::args::PlanArgs;
use crate::output::{Status, say};
use crate::promotion::{Network, Promotion};
use crate::{files, report};

pub(crate) fn run(args: &PlanArgs) -> anyhow::Result<Status> {
    let promotion = Promotion::read(&args.promotion, 1)?;
    let Strategy::PullRequest(spec) = &promotion.effect.strategy else {
        bail!("{} is not promoted to by pull request, so there is no difference to show", args.promotion.environment);
    };
    let request = pull_request::request(&promotion.pipeline, &promotion.effect, spec)
        .map_err(|failure| anyhow!(failure.message))?;
    // A checkout needs no way to its repository.
    let (edited, place) = match &args.dir {
        Some(folder) => (checkout(folder, &request)?, folder.display().to_string()),
        None => {
            let place = format!("branch {} of {}", request.base, request.repository);
            (fetched(&promotion, &request, args)?, place)
        }
    };
    report::say_notes(&edited.notes);
    let mut refused = edited.notes.iter().filter(|note| note.code.effect() == Effect::Refused);
    let status = if edited.matched == 0 && refused.clone().all(|note| note.code == Code::UnmatchedUpdate) {
        report::say_no_match(&request.updates, &place);
        Status::NothingMatched
    } else if refused.next().is_some() {
        Status::Failed
    } else {
        Status::Done
    };
    match args.output {
        Some(format) => report::print_data(&edited, format)?,
        None if status != Status::Done => {}
        None if edited.files.is_empty() => {
            say(format_args!("nothing to change: {place} has {} already", request.key.revision))
        }
        None => report::print_changes(&edited)?,
    }
    Ok(status)
}

fn checkout(folder: &Path, request: &Request) -> anyhow::Result<Edited> {
    let context = || format!("--dir {}", folder.display());
    let found = files::checkout(folder).with_context(context)?;
    files::edit(&found, &request.updates, &Limits::default()).with_context(context)
}

fn fetched(promotion: &Promotion, request: &Request, args: &PlanArgs) -> anyhow::Result<Edited> {
    // Anybody may read a public repository.
    let secret = promotion.secret(false)?;
    let credentials = pull_request::credentials(secret.as_ref()).map_err(|failure| anyhow!(failure.message))?;
    let network = Network::new(&args.network)?;
    Ok(network.run(network.strategies.promoter.plan(request, &credentials))??)
}
