#![doc = include_str!("../README.md")]

mod args;

mod edit;
mod files;

mod lint;
mod sarif;

mod manifests;
mod plan;
mod promote;
mod promotion;

mod output;
mod report;

use std::io;
use std::process::ExitCode;

use args::{Args, Command};
use clap::{CommandFactory as _, Parser as _};
use kube::CustomResourceExt as _;
use output::{Format, Status, data, error, print};
use pipeline_api::Pipeline;

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(status) => status.into(),
        // Whoever read the output has seen enough of it.
        Err(failure) if is_broken_pipe(&failure) => Status::Done.into(),
        Err(failure) => {
            error(format_args!("{failure:#}"));
            Status::Failed.into()
        }
    }
}

fn run(command: Command) -> anyhow::Result<Status> {
    match command {
        Command::Edit(args) => edit::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Promote(args) => promote::run(&args),
        Command::Crd { output } => {
            data(&Pipeline::crd(), output.unwrap_or(Format::Yaml))?;
            Ok(Status::Done)
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "pipelinectl", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(Status::Done)
        }
    }
}

fn is_broken_pipe(failure: &anyhow::Error) -> bool {
    let kind = failure.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
