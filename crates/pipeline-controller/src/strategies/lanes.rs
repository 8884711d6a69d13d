//! Who may call a host or a receiver at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// Attempts at one host or receiver at the same time: one that hangs holds so many reconciles and no more.
const WIDTH: usize = 8;
/// For one that answers, the time of many attempts; for one that hangs, little beside its time-out.
const PATIENCE: Duration = Duration::from_millis(100);
/// Hosts and receivers that are remembered although nobody calls them.
const MAX_IDLE: usize = 256;

/// A lane for each host and receiver, by scheme, host and port.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Lanes {
    /// Waits a little for a place; `None` if there is none. The place is free again when the answer is dropped.
    pub(crate) async fn enter(&self, peer: &Url) -> Option<OwnedSemaphorePermit> {
        let (scheme, host, port) = (peer.scheme(), peer.host_str().unwrap_or_default(), peer.port_or_known_default());
        let lane = self.lane(format!("{scheme} {host} {}", port.unwrap_or_default()));
        tokio::time::timeout(PATIENCE, lane.acquire_owned()).await.ok()?.ok()
    }

    fn lane(&self, peer: String) -> Arc<Semaphore> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= MAX_IDLE {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        Arc::clone(lanes.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(WIDTH))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_lane_turns_away_and_leaves_others_alone() {
        let lanes = Lanes::default();
        let [hanging, other] = ["https://a.example/1", "https://b.example/"].map(|url| Url::parse(url).unwrap());
        let mut places = Vec::new();
        for _ in 0..WIDTH {
            places.push(lanes.enter(&hanging).await.unwrap());
        }
        assert!(lanes.enter(&Url::parse("https://a.example/2").unwrap()).await.is_none());
        drop(lanes.enter(&other).await.unwrap());
        places.pop();
        drop(lanes.enter(&hanging).await.unwrap());
    }

    #[tokio::test]
    async fn idle_lanes_are_forgotten() {
        let lanes = Lanes::default();
        for host in 0..2 * MAX_IDLE {
            drop(lanes.enter(&Url::parse(&format!("https://{host}.example/")).unwrap()).await.unwrap());
        }
        assert!(lanes.0.lock().unwrap().len() <= MAX_IDLE);
    }
}
