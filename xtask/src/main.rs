//! Tasks around the code: `cargo xtask --help`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod bench;
mod crds;
mod demo;
mod fuzz;
mod image;
mod manifests;
mod soak;
mod test;
mod testbed;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks around the code.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Shows two real promotions, by pull request and by webhook, on a control plane and a git host of its own
    Demo(demo::Args),
    /// Checks everything and runs all tests, on real servers; installs or builds what is missing
    Test(test::Args),
    /// Measures, in release mode
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Looks for inputs that break what must hold for all
    Fuzz(fuzz::Args),
    /// Disturbs the controller for longer than the tests do
    #[command(subcommand)]
    Soak(soak::Soak),
    /// Writes the custom resource definitions under deploy/crds
    Crds {
        /// Only say whether they are up to date
        #[arg(long)]
        check: bool,
    },
    /// Builds the container image for each architecture as an OCI layout, with its software bill of materials, and checks it
    Image(image::Args),
    /// Writes what is derived of the definition, the roles and the chart: the chart's copies and README, kustomize's manifests
    Manifests {
        /// Only say whether they are up to date
        #[arg(long)]
        check: bool,
    },
    /// Starts the servers that the tests use, prints how to reach them, and stays until Ctrl-C
    Testbed,
    /// Checks what no compiler does: layering of the pure modules, paths named in documents
    Tidy,
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Demo(args) => in_runtime(demo::run(args)),
        Task::Test(args) => in_runtime(test::run(args)),
        Task::Bench(bench) => bench::run(&bench),
        Task::Fuzz(args) => fuzz::run(args),
        Task::Soak(soak) => in_runtime(soak::run(soak)),
        Task::Crds { check } => crds::run(check),
        Task::Image(args) => image::run(&args),
        Task::Manifests { check } => in_runtime(manifests::run(check)),
        Task::Testbed => in_runtime(testbed::run()),
        Task::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(task)
}

/// The root of the checkout.
fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(std::path::Path::new("."))
}
