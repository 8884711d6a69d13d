//! Everything that has to hold, in the order of what fails soonest.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::{root, tidy, tools};

/// The version of cargo-deny that is installed when none is there.
const CARGO_DENY: &str = "0.20.2";

#[derive(clap::Args)]
pub struct Args {
    /// Only the tests, not the checks before them
    #[arg(long)]
    only_tests: bool,
    /// Handed to the test binaries: a part of the names of the tests to run
    filter: Vec<String>,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    if !args.only_tests {
        checks()?;
    }
    tools::sshd()?;
    tools::webhook()?;
    tools::prometheus()?;
    tools::skopeo()?;
    let started = Instant::now();
    eprintln!("==> starting the test bed");
    let bed = testbed::Testbed::start().await?;
    eprintln!("    up after {:.1} s", started.elapsed().as_secs_f32());
    let mut tests = cargo(["test", "--workspace", "--all-features", "--"]);
    tests.arg("--include-ignored").args(&args.filter).env(testbed::VARIABLE, &bed.file);
    step("tests", &mut tests)
}

fn checks() -> anyhow::Result<()> {
    step("formatting", &mut cargo(["fmt", "--all", "--check"]))?;
    eprintln!("==> tidy");
    tidy::run()?;
    step(
        "lints",
        &mut cargo(["clippy", "--workspace", "--all-targets", "--all-features", "--quiet", "--", "-D", "warnings"]),
    )?;
    step(
        "lints without the feature ssh",
        &mut cargo(["clippy", "--package", "promote-pr", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    )?;
    let deny = tools::cargo_tool("cargo-deny", CARGO_DENY)?;
    step(
        "licences, sources and layers",
        Command::new(deny)
            .args(["--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
            .current_dir(root()),
    )?;
    let mut docs = cargo(["doc", "--workspace", "--no-deps", "--all-features", "--quiet"]);
    step("documentation", docs.env("RUSTDOCFLAGS", "-D warnings"))
}

fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(root());
    command
}

fn step(name: &str, command: &mut Command) -> anyhow::Result<()> {
    eprintln!("==> {name}");
    let started = Instant::now();
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    ensure!(status.success(), "{name}: failed");
    eprintln!("    {name}: fine after {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}
