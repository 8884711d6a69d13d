use std::process::ExitCode;

use clap::Parser;
use pipeline_controller::args::Args;
use pipeline_controller::run::run;

fn main() -> ExitCode {
    run(Args::parse())
}
