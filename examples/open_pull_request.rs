//! Opens a pull request that writes a value behind a marker, without Kubernetes: `promote-pr` alone. A second call finds
//! the pull request of the first.
//!
//! ```sh
//! TOKEN=… cargo run -p pipeline-examples --bin open_pull_request -- \
//!     https://github.com/org/fleet.git main default podinfo prod 6.3.0
//! ```

#![expect(clippy::print_stdout, reason = "what a program prints is its result")]

use std::path::PathBuf;

use clap::Parser;
use egress::{Egress, Guard, IpNet, Policy};
use promote_pr::edit::{Target, Update};
use promote_pr::host::Provider;
use promote_pr::{
    Attributes, BranchName, Credentials, Key, Links, MergePolicy, Options, Promoter, RepoUrl, Request, Templates,
};
use secrecy::SecretString;

/// Opens a pull request that writes a value behind a marker
#[derive(Parser)]
struct Args {
    repository: RepoUrl,
    base: BranchName,
    /// The three parts of the marker: # {"$promotion": "NAMESPACE:PIPELINE:ENVIRONMENT"}
    namespace: String,
    pipeline: String,
    environment: String,
    value: String,
    /// The software of the host; it is known for hosts such as github.com
    #[arg(long)]
    provider: Option<Provider>,
    #[arg(long, env, hide_env_values = true)]
    token: SecretString,
    /// PEM bundle of certificate authorities to trust in addition to the system's
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Addresses to call although they are refused by themselves, such as 127.0.0.0/8
    #[arg(long)]
    egress_allow: Vec<IpNet>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let guard = Guard { allow: args.egress_allow, ..Guard::default() };
    let extra_ca = args.ca_file.map(std::fs::read).transpose()?;
    let egress = Egress::new(Policy { guard, extra_ca, ..Policy::default() })?;
    let cache = tempfile::tempdir()?;
    let promoter = Promoter::new(egress, Options::new(cache.path()));

    let marker = Target::Marker(format!("{}:{}:{}", args.namespace, args.pipeline, args.environment));
    let request = Request {
        updates: vec![Update::new(marker, &*args.value)],
        key: Key {
            namespace: args.namespace,
            pipeline: args.pipeline,
            environment: args.environment,
            revision: args.value,
            sequence: 1,
        },
        repository: args.repository,
        base: args.base,
        provider: args.provider,
        api_url: None,
        source_environment: None,
        previous_revision: None,
        links: Links::default(),
        templates: Templates::default(),
        attributes: Attributes::default(),
        merge: MergePolicy::None,
    };
    let credentials = Credentials { token: Some(args.token), ..Credentials::default() };
    let promotion = promoter.promote(&request, &credentials).await?;

    println!("{:?}", promotion.state);
    for change in promotion.changes {
        println!("{}:{}: {} -> {}", change.path, change.line, change.old, change.new);
    }
    if let Some(pull_request) = promotion.pull_request {
        println!("{}", pull_request.url);
    }
    Ok(())
}
