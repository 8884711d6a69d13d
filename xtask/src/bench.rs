//! Measurements, each of one subject, as `cargo xtask bench edit`.

pub mod controller;
pub mod edit;
pub mod git;
pub mod shards;
pub mod webhook;

use std::fmt;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;

#[derive(clap::Subcommand)]
pub enum Bench {
    /// The controller with 100, 1,000 and 10,000 Pipelines: first pass, idle cost, and how soon a webhook follows
    Controller(controller::Args),
    /// The edit engine: screening, one manifest, many files, large files
    Edit(edit::Args),
    /// A promotion's git part on a repository of 20,000 files, beside the git program
    Git(git::Args),
    /// Many Pipelines shared out among 1, 2 and 4 processes: first pass, memory and processor time
    Shards(shards::Args),
    /// 200 promotions by webhook at once, to 20 receivers of which 5 are dead or hang: how long each event takes to
    /// arrive, with the controller as the tests have it
    Webhook,
}

pub fn run(bench: &Bench) -> anyhow::Result<()> {
    if cfg!(debug_assertions) && !matches!(bench, Bench::Webhook) {
        return in_release();
    }
    match bench {
        Bench::Controller(args) => crate::in_runtime(controller::run(args)),
        Bench::Edit(args) => edit::run(args),
        Bench::Git(args) => git::run(args),
        Bench::Shards(args) => crate::in_runtime(shards::run(args)),
        Bench::Webhook => crate::in_runtime(webhook::run()),
    }
}

/// The same command, built as it is shipped.
fn in_release() -> anyhow::Result<()> {
    eprintln!("==> building in release mode");
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--release", "--package", "xtask", "--"]);
    let status = command.args(std::env::args_os().skip(1)).current_dir(crate::root()).status()?;
    ensure!(status.success(), "the measurement failed");
    Ok(())
}

/// Times of several runs of the same work.
pub struct Times(Vec<Duration>);

impl Times {
    /// Runs the work once to warm up, and then so often.
    pub fn of<T>(runs: usize, mut work: impl FnMut() -> T) -> Self {
        black_box(work());
        let times = (0..runs)
            .map(|_| {
                let started = Instant::now();
                black_box(work());
                started.elapsed()
            })
            .collect();
        Self::from(times)
    }

    pub fn from(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    pub fn median(&self) -> Duration {
        self.at(2)
    }

    /// The time at so many quarters of the runs.
    fn at(&self, quarters: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * quarters / 4).copied().unwrap_or_default()
    }
}

/// Median, and between which times half of the runs lie.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.1?}  ({:.1?} to {:.1?}, {} runs)", self.median(), self.at(1), self.at(3), self.0.len())
    }
}
