//! Reads a Pipeline as the controller does, whichever of the two shapes it has: `pipeline-api` alone.
//!
//! ```sh
//! cargo run -p pipeline-examples --bin read_pipeline examples/manifests/strategy.yaml
//! ```

#![expect(clippy::print_stdout, reason = "what a program prints is its result")]

use std::path::PathBuf;

use clap::Parser;
use pipeline_api::Pipeline;
use pipeline_api::normalized::Strategy;

/// Says how an application gets from one environment to the next
#[derive(Parser)]
struct Args {
    /// A file whose first document is a Pipeline
    file: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(Args::parse().file)?;
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text)?;
    let pipeline: Pipeline = serde_json::from_value(documents.into_iter().next().unwrap_or_default())?;

    for wrong in pipeline.invalid() {
        println!("not valid: {wrong}");
    }
    for environment in pipeline.spec.environments.iter().skip(1) {
        let name = &environment.name;
        match pipeline.promotion(name)?.map(|promotion| promotion.strategy) {
            Some(Strategy::PullRequest(spec)) => {
                println!("to {name}: a pull request to {} of {}", spec.branch, spec.url);
            }
            Some(Strategy::Webhook(spec)) => match spec.url {
                Some(url) => println!("to {name}: an event to {}", url.origin().ascii_serialization()),
                None => println!("to {name}: an event to the address in the Secret"),
            },
            Some(Strategy::Notification) => println!("to {name}: a Flux event to --events-addr"),
            None => println!("to {name}: nothing promotes"),
        }
    }
    Ok(())
}
