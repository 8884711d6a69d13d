//! Asks the API server for the Lease, by the rules of [`lease`](crate::lease).

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use uuid::Uuid;

use crate::causes::explain;
use crate::leader::{Leader, now};
use crate::lease::{Contender, Held, Lost, Next, Terms, released};

/// Looks at a Lease that may not be read or written, before a person has to grant that.
const FORBIDDEN_MAX: u32 = 5;
/// For the last write, which only makes the next leader come sooner.
const FAREWELL: Duration = Duration::from_secs(5);

/// One process of those that would lead.
pub(crate) struct Election {
    api: Api<Lease>,
    namespace: String,
    name: String,
    terms: Terms,
    contender: Contender,
    leader: Leader,
    /// As it was written last.
    lease: Option<Lease>,
    holder: String,
}

/// How a look at the Lease ended.
enum Look {
    Leading,
    Waiting,
}

enum Trouble {
    Lost(Lost),
    Forbidden(String),
    Failed(String),
}

impl Election {
    /// A process that would lead by the Lease `namespace/name`; `leader` is told.
    pub(crate) fn new(client: Client, namespace: String, name: String, terms: Terms, leader: Leader) -> Self {
        let api = Api::namespaced(client, &namespace);
        let contender = Contender::new(identity(), terms);
        Self { api, namespace, name, terms, contender, leader, lease: None, holder: String::new() }
    }

    /// Ends when this process leads.
    ///
    /// # Errors
    /// The Lease may not be read or written.
    pub(crate) async fn win(&mut self) -> anyhow::Result<()> {
        let mut forbidden = 0_u32;
        let mut told = String::new();
        loop {
            let why = match self.look(self.terms.renew_deadline).await {
                Ok(Look::Leading) => {
                    tracing::info!(
                        lease.namespace = self.namespace,
                        lease.name = self.name,
                        lease.holder = self.contender.identity(),
                        "leading: this process acts"
                    );
                    return Ok(());
                }
                Ok(Look::Waiting) => String::new(),
                Err(Trouble::Forbidden(why)) => {
                    forbidden += 1;
                    if forbidden >= FORBIDDEN_MAX {
                        return Err(anyhow!(why).context(format!(
                            "Lease {}/{} may not be used: grant get, create and update of leases.coordination.k8s.io there",
                            self.namespace, self.name
                        )));
                    }
                    why
                }
                Err(Trouble::Failed(why)) => why,
                Err(Trouble::Lost(lost)) => lost.to_string(),
            };
            if !why.is_empty() && why != told {
                tracing::warn!(lease.namespace = self.namespace, lease.name = self.name, "cannot use the Lease: {why}");
            }
            told = why;
            tokio::time::sleep(self.terms.retry_period).await;
        }
    }

    /// Renews until that is over, and says why. The process has to end then: others may act.
    pub(crate) async fn keep(&mut self) -> anyhow::Error {
        let mut trouble = None;
        loop {
            tokio::time::sleep(self.terms.retry_period.min(self.left())).await;
            match self.look(self.left()).await {
                Ok(_) => trouble = None,
                Err(Trouble::Failed(why) | Trouble::Forbidden(why)) => {
                    tracing::warn!(lease.name = self.name, "cannot renew the Lease: {why}");
                    trouble = Some(why);
                }
                Err(Trouble::Lost(lost)) => return self.lost(&lost, trouble),
            }
            if self.left().is_zero() {
                return self.lost(&Lost::Expired, trouble);
            }
        }
    }

    /// Gives the Lease back, so that another process leads at its next look.
    pub(crate) async fn release(self) {
        self.leader.resign();
        let Some(lease) = self.lease else { return };
        let released = released(lease, wall_clock());
        let parameters = PostParams::default();
        let released = self.api.replace(&self.name, &parameters, &released);
        match tokio::time::timeout(FAREWELL, released).await {
            Ok(Ok(_)) => {
                tracing::info!(lease.namespace = self.namespace, lease.name = self.name, "the Lease is released")
            }
            Ok(Err(error)) => tracing::warn!(lease.name = self.name, "cannot release the Lease: {}", explain(&error)),
            Err(_elapsed) => {
                tracing::warn!(lease.name = self.name, "cannot release the Lease: no answer in {FAREWELL:?}")
            }
        }
    }

    /// Looks at the Lease, and takes or renews it if that is due.
    async fn look(&mut self, longest: Duration) -> Result<Look, Trouble> {
        // A connection that hangs is to be followed by another one in time.
        let patience = (self.terms.renew_deadline / 3).min(longest);
        let look = self.exchange();
        let looked = tokio::time::timeout(patience, look).await;
        looked.unwrap_or_else(|_elapsed| {
            Err(Trouble::Failed(format!("the API server did not answer within {patience:?}")))
        })
    }

    async fn exchange(&mut self) -> Result<Look, Trouble> {
        let read = self.api.get_opt(&self.name).await.map_err(|error| trouble(&error))?;
        let held = read.as_ref().map(Held::of);
        match self.contender.next(held.as_ref(), now()).map_err(Trouble::Lost)? {
            Next::Wait => {
                let holder = held.map(|held| held.holder).unwrap_or_default();
                if holder != self.holder {
                    tracing::info!(
                        lease.namespace = self.namespace,
                        lease.name = self.name,
                        "following: {holder} leads"
                    );
                    self.holder = holder;
                }
                return Ok(Look::Waiting);
            }
            Next::Write => {}
        }
        let before = now();
        let is_new = read.is_none();
        let mut lease = self.contender.lease(read, wall_clock());
        lease.metadata.name = Some(self.name.clone());
        let written = match is_new {
            true => self.api.create(&PostParams::default(), &lease).await,
            false => self.api.replace(&self.name, &PostParams::default(), &lease).await,
        };
        match written {
            Ok(lease) => {
                let until = self.contender.written(before, now()).map_err(Trouble::Lost)?;
                self.lease = Some(lease);
                match until {
                    Some(until) => {
                        self.leader.until(until);
                        Ok(Look::Leading)
                    }
                    None => Ok(Look::Waiting),
                }
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Look::Waiting),
            Err(error) => Err(trouble(&error)),
        }
    }

    /// Time for which this process may still act.
    fn left(&self) -> Duration {
        self.contender.until().map(|until| until.since(now())).unwrap_or_default()
    }

    fn lost(&self, lost: &Lost, trouble: Option<String>) -> anyhow::Error {
        self.leader.resign();
        let trouble = trouble.map(|why| format!(" ({why})")).unwrap_or_default();
        anyhow!(
            "the Lease {}/{} is lost: {lost}{trouble}; another process acts, so this one ends",
            self.namespace,
            self.name
        )
    }
}

fn trouble(error: &kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => Trouble::Forbidden(status.message.clone()),
        error => Trouble::Failed(explain(error)),
    }
}

/// The host, which is the Pod, for people, and something that no other process has.
fn identity() -> String {
    format!("{}_{}", rustix::system::uname().nodename().to_string_lossy(), Uuid::new_v4())
}

#[expect(clippy::disallowed_methods, reason = "for people who look at the Lease; nobody counts on it")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}

/// Where the Lease is: where the operator says, else where the process runs.
///
/// # Errors
/// The service account's namespace cannot be read.
pub(crate) fn namespace(flag: Option<&str>) -> anyhow::Result<String> {
    const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    #[expect(clippy::disallowed_methods, reason = "Kubernetes' own name for it, which manifests set")]
    let pod = std::env::var("POD_NAMESPACE").ok();
    if let Some(named) = flag.map(str::to_owned).or(pod).filter(|name| !name.is_empty()) {
        return Ok(named);
    }
    match std::fs::read_to_string(SERVICE_ACCOUNT) {
        Ok(name) => Ok(name.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("default".to_owned()),
        Err(error) => Err(error).context(SERVICE_ACCOUNT),
    }
}
