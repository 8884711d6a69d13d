//! Several processes of the controller, of which one acts, each with a way of its own to the API server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use testbed::tcp_proxy::{Cut, TcpProxy};
use testbed::{Process, Receiver};

use crate::world::{PATIENCE, World};

/// How soon a leader that is gone is replaced, as flags: duration, renew deadline and retry period of the lease.
#[derive(Clone, Copy, Debug)]
pub struct Terms(pub [&'static str; 3]);

/// So that tests need not wait long.
pub const SHORT: Terms = Terms(["3s", "2s", "250ms"]);

pub struct Replica {
    pub process: Process,
    pub hooks: u16,
    /// Between this replica and the API server.
    pub way: TcpProxy,
}

impl Replica {
    /// Starts a process of this name, which nobody had before, with these further flags.
    pub async fn start(world: &World, name: &str, terms: Terms, flags: &[&str]) -> Result<Self> {
        let port = world.cluster.url.port().context("the API server has no port")?;
        let way = TcpProxy::start(port, Cut::NEVER).await?;
        let kubeconfig = world.kubeconfig.with_file_name(format!("kubeconfig-{name}"));
        let text = std::fs::read_to_string(&world.kubeconfig)?;
        std::fs::write(&kubeconfig, text.replace(&format!(":{port}"), &format!(":{}", way.port)))?;
        let [duration, deadline, period] = terms.0;
        let own = [
            "--kubeconfig",
            kubeconfig.to_str().context("the path is no text")?,
            "--leader-elect",
            "--leader-election-namespace",
            &world.namespace,
            "--leader-election-lease-duration",
            duration,
            "--leader-election-renew-deadline",
            deadline,
            "--leader-election-retry-period",
            period,
        ];
        let (process, hooks) = world.spawn(name, &[&own, flags].concat()).await?;
        Ok(Self { process, hooks, way })
    }

    /// Whether it leads, or did once: it never does a second time.
    pub fn leads(&self) -> Result<bool> {
        Ok(self.process.log()?.contains("leading: this process acts"))
    }

    /// The exit code, once it has ended by itself.
    pub async fn ended(&mut self) -> Result<i32> {
        self.process.wait(PATIENCE).await
    }

    /// When it called others, as its log tells: the first and the last request.
    pub fn calls(&self) -> Result<Option<(String, String)>> {
        let log = self.process.log()?;
        let mut times = log.lines().filter(|line| line.contains("calling")).filter_map(time);
        let Some(first) = times.next() else { return Ok(None) };
        let last = times.next_back().unwrap_or_else(|| first.clone());
        Ok(Some((first, last)))
    }
}

/// The time that a line of a log begins with.
fn time(line: &str) -> Option<String> {
    let begin = line.find("20")?;
    let end = begin + line.get(begin..)?.find('Z')?;
    line.get(begin..end).map(str::to_owned)
}

/// The one of these that leads, once there is one.
pub async fn leader(replicas: &[Replica]) -> Result<usize> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for (index, replica) in replicas.iter().enumerate() {
            if replica.leads()? {
                return Ok(index);
            }
        }
        if Instant::now() > deadline {
            bail!(
                "nobody leads; the first one's log:\n{}",
                replicas.first().map(|one| one.process.log_tail()).unwrap_or_default()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes the leader out of them.
pub async fn take_leader(replicas: &mut Vec<Replica>) -> Result<Replica> {
    let index = leader(replicas).await?;
    Ok(replicas.remove(index))
}

/// The Leases of a world's controllers.
pub fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.client.clone(), &world.namespace)
}

/// Each promotion was delivered once: so many of them.
pub fn delivered_once(receiver: &Receiver, promotions: usize) {
    let received = receiver.received();
    let ids: std::collections::BTreeSet<_> = received.iter().map(|event| event.header("webhook-id")).collect();
    assert_eq!((received.len(), ids.len()), (promotions, promotions));
}
