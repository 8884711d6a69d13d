//! The long forms of tests that the test run has in short.

use std::process::Command;

use anyhow::ensure;

use crate::root;

#[derive(clap::Subcommand)]
pub enum Soak {
    /// Kills the controller at random moments while revisions go through three environments on a real git host
    Kills {
        /// How often
        #[arg(long, default_value_t = 100)]
        kills: u32,
        /// The moments of an earlier run, which says its seed when it fails
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Kills, stops or cuts off the leader of three replicas while revisions go through three environments on a real git host,
    /// and tells the time without a leader
    Failover {
        /// How often
        #[arg(long, default_value_t = 50)]
        rounds: u32,
        /// With leases of 3 s instead of the usual 15 s
        #[arg(long)]
        short: bool,
        /// The moments of an earlier run, which says its seed when it fails
        #[arg(long)]
        seed: Option<u64>,
    },
}

pub async fn run(soak: Soak) -> anyhow::Result<()> {
    let (test, variables, seed) = match soak {
        Soak::Kills { kills, seed } => ("cascade::", vec![("SOAK_KILLS", kills.to_string())], seed),
        Soak::Failover { rounds, short, seed } => {
            let usual = (!short).to_string();
            ("failover::", vec![("SOAK_ROUNDS", rounds.to_string()), ("SOAK_USUAL_TERMS", usual)], seed)
        }
    };
    let bed = testbed::Testbed::start().await?;
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--quiet", "--package", "pipeline-controller", "--all-features", "--test", "real", "--"]);
    command.args(["--include-ignored", "--nocapture", test]);
    command.env(testbed::VARIABLE, &bed.file).envs(variables);
    if let Some(seed) = seed {
        command.env("SOAK_SEED", seed.to_string());
    }
    ensure!(command.current_dir(root()).status()?.success(), "it did not end as if nobody had disturbed it");
    Ok(())
}
