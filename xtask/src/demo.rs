//! `cargo xtask demo`: two real promotions, watched step by step.

mod pull_request;
pub mod stage;
mod webhook;

use std::time::Duration;

use stage::Stage;

/// Longest time that one step may take. Everything that the demo waits for takes a few seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub struct Args {
    /// Leave everything running, and print how to reach it and what to try
    #[arg(long)]
    keep: bool,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    pull_request::play(&stage).await?;
    webhook::play(&stage).await?;
    stage.say("every step was seen");
    if args.keep {
        stage.explain();
        tokio::signal::ctrl_c().await?;
    }
    Ok(())
}
