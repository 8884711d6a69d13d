use std::process::ExitCode;

use clap::Parser;
use pipeline_controller::args::Args;
use pipeline_controller::run::run;

// With musl's own, a first pass takes half as much processor time again.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(Args::parse())
}
