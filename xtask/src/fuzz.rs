//! Random inputs: of the edit engine with cargo-fuzz, which wants flags and a workspace of its own; of deciding with proptest.

use std::fs;
use std::process::Command;

use anyhow::ensure;

use crate::{root, tools};

/// The version of cargo-fuzz that is installed when none is there.
const CARGO_FUZZ: &str = "0.13.1";

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(clap::Subcommand)]
enum Subject {
    /// The edit engine, with all targets of fuzz/
    Edit {
        /// Time for each target
        #[arg(long, default_value_t = 10)]
        minutes: u32,
        /// Only this target
        #[arg(long)]
        target: Option<String>,
    },
    /// Deciding and concluding: random worlds with faults and restarts, and what must hold in them
    Decide {
        /// Worlds for each property
        #[arg(long, default_value_t = 20_000)]
        cases: u32,
    },
    /// The keys `headers` and `address` of a Secret
    Secrets {
        /// Time for each target
        #[arg(long, default_value_t = 10)]
        minutes: u32,
    },
}

pub fn run(args: Args) -> anyhow::Result<()> {
    match args.subject {
        Subject::Edit { minutes, target: Some(target) } => fuzz(minutes, &[target.as_str()]),
        Subject::Edit { minutes, target: None } => fuzz(minutes, &["markers", "paths", "edit"]),
        Subject::Secrets { minutes } => fuzz(minutes, &["headers", "addresses"]),
        Subject::Decide { cases } => decide(cases),
    }
}

fn decide(cases: u32) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--quiet", "--package", "pipeline-controller", "--lib", "model::"]);
    let status = command.env("PROPTEST_CASES", cases.to_string()).current_dir(root()).status()?;
    ensure!(status.success(), "a world broke a promise: the smallest one that does is above");
    Ok(())
}

fn fuzz(minutes: u32, targets: &[&str]) -> anyhow::Result<()> {
    let program = tools::cargo_tool("cargo-fuzz", CARGO_FUZZ)?;
    let folder = root().join("fuzz");
    for target in targets {
        eprintln!("==> fuzzing {target} for {minutes} min");
        // What is found goes to the first folder; the second is committed.
        let (found, seeds) = (format!("target/corpus/{target}"), format!("corpus/{target}"));
        fs::create_dir_all(folder.join(&found))?;
        let mut command = Command::new(&program);
        command.args(["fuzz", "run", "--fuzz-dir", ".", target, &found, &seeds, "--"]);
        command.args(["-dict=yaml.dict", "-max_len=2048", "-timeout=10"]);
        command.args(["-print_final_stats=1", &format!("-max_total_time={}", minutes.saturating_mul(60))]);
        // Sanitizers need flags that the stable compiler takes only so.
        let status = command.env("RUSTC_BOOTSTRAP", "1").current_dir(&folder).status()?;
        ensure!(status.success(), "{target}: see fuzz/artifacts/{target}");
    }
    Ok(())
}
