//! Carries one promotion out, by whichever strategy. Needs no cluster, so that the command line runs it too.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use egress::{Client, Egress, Gate, Guard, Identity, IpNet, Retry};
use jiff::Timestamp;
use pipeline_api::Pipeline;
use pipeline_api::normalized::Strategy;
use pipeline_secrets::SecretValues;
use promote_pr::{Options, Promoter};
use uuid::Uuid;

use crate::key;
use crate::outcome::{Done, Failure, Next};
use crate::plan::{Effect, Withdrawal};
use crate::strategies::lanes::Lanes;
use crate::strategies::notification::EventsReceiver;
use crate::strategies::secrets::Secrets;

mod lanes;
pub mod notification;
pub mod pull_request;
pub mod secrets;
pub mod webhook;

/// Longest time that one try of a promotion may take, whatever it waits for.
const DEADLINE: Duration = Duration::from_secs(300);

/// What may be called.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Certificate authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether repositories and webhooks may be reached over plain http.
    pub allow_http: bool,
    pub guard: Guard,
    /// Whether anybody may be called now; none: always.
    pub gate: Option<Gate>,
    /// Who is told of every call.
    pub observer: Option<Arc<dyn egress::Observer>>,
}

/// The strategies with what they share over all pipelines.
pub struct Strategies {
    pub egress: Egress,
    pub promoter: Promoter,
    events: Option<EventsReceiver>,
    lanes: Lanes,
    /// Whether receivers are told the trace of a promotion.
    trace: bool,
}

impl Strategies {
    /// Strategies that make pull requests by `options`, within `network`, and use the proxy of the process' environment.
    /// Without `events`, `strategy.notification` fails.
    ///
    /// # Errors
    /// The file of certificate authorities cannot be read, or is no PEM bundle.
    pub fn open(options: Options, network: &Network, events: Option<EventsReceiver>) -> anyhow::Result<Self> {
        let policy = egress::Policy {
            guard: network.guard.clone(),
            allow_http: network.allow_http,
            extra_ca: extra_ca(network)?,
            system_proxy: true,
            gate: network.gate.clone(),
            observer: network.observer.clone(),
            ..egress::Policy::default()
        };
        let egress = Egress::new(policy).context("--ca-file")?;
        let trace = options.trace;
        let promoter = Promoter::new(egress.clone(), options);
        Ok(Self { egress, promoter, events, lanes: Lanes::default(), trace })
    }

    /// Tries the promotion once at `now`.
    ///
    /// *Idempotency*: a pull request is found again by its head branch; a webhook carries the same id each time.
    pub async fn run(
        &self,
        pipeline: &Pipeline,
        effect: &Effect,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Done, Failure> {
        let attempt = async {
            match &effect.strategy {
                Strategy::PullRequest(spec) => {
                    let Some(_place) = self.lanes.enter(&spec.url).await else {
                        return Err(refused("the host is busy with other promotions", Next::Turn));
                    };
                    pull_request::run(&self.promoter, pipeline, effect, spec, secrets.credentials.as_ref()).await
                }
                Strategy::Webhook(spec) => webhook::run(self, pipeline, effect, spec, secrets, now).await,
                Strategy::Notification => notification::run(self.events.as_ref(), pipeline, effect).await,
            }
        };
        in_time(attempt).await
    }

    /// Closes the pull requests of an environment's promotions, and deletes their branches.
    ///
    /// *Idempotency*: a second call finds nothing to do.
    pub async fn withdraw(
        &self,
        pipeline: &Pipeline,
        withdrawal: &Withdrawal,
        credentials: Option<&SecretValues>,
    ) -> Result<(), Failure> {
        in_time(pull_request::withdraw(&self.promoter, pipeline, withdrawal, credentials)).await
    }
}

/// A client for what the operator names by a flag: it may be at any address, within the cluster too, and plain http.
///
/// # Errors
/// The operator's certificate authorities cannot be used.
pub(crate) fn operators_client(network: &Network) -> anyhow::Result<Client> {
    let everywhere = [IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0)?, IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0)?];
    let policy = egress::Policy {
        guard: Guard { allow: everywhere.into(), ..Guard::default() },
        allow_http: true,
        extra_ca: extra_ca(network)?,
        system_proxy: true,
        gate: network.gate.clone(),
        observer: network.observer.clone(),
        ..egress::Policy::default()
    };
    Ok(Egress::new(policy)?.client(&Identity::default())?)
}

/// The certificate authorities that the operator trusts beside the system's.
///
/// # Errors
/// Their file cannot be read.
pub(crate) fn extra_ca(network: &Network) -> anyhow::Result<Option<Vec<u8>>> {
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("--ca-file {}", path.display()));
    network.ca_file.as_ref().map(read).transpose()
}

async fn in_time<T>(attempt: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(DEADLINE, attempt).await.unwrap_or_else(|_elapsed| {
        let message = format!("took longer than {} s", DEADLINE.as_secs());
        Err(Failure { message, next: Next::Backoff { at_least: Duration::ZERO }, nothing_matched: false })
    })
}

/// The id that the promotion carries everywhere: in commits, pull requests and events. Pure.
pub fn id(pipeline: &Pipeline, effect: &Effect) -> Uuid {
    key::of(pipeline, &effect.environment, &effect.revision, effect.sequence).id()
}

/// What the pipeline, its Secret or the revision lack for the strategy: a person has to change it.
fn refused(message: impl Into<String>, next: Next) -> Failure {
    Failure { message: message.into(), next, nothing_matched: false }
}

fn next_of_pull_request(retry: Retry) -> Next {
    match retry {
        Retry::Never => Next::Review,
        Retry::Later => Next::Backoff { at_least: Duration::ZERO },
        Retry::After(delay) => Next::Backoff { at_least: delay },
    }
}
