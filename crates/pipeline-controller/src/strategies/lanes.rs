//! Who may call a host or a receiver at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// Attempts at one host or receiver at the same time: one that hangs holds so many reconciles and no more.
const WIDTH: usize = 8;
/// Of them, attempts at one repository or URL: a busy one leaves places to its neighbours.
const WIDTH_EACH: usize = 4;
/// For one that answers, the time of many attempts; for one that hangs, little beside its time-out.
const PATIENCE: Duration = Duration::from_millis(100);
/// Lanes that are remembered although nobody uses them.
const MAX_IDLE: usize = 512;

/// A lane for each host and receiver, by scheme, host and port, and within it for each repository and URL.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<String, Arc<Semaphore>>>);

/// A place in both lanes, free again when it is dropped.
pub(crate) struct Place(#[expect(dead_code, reason = "held, and dropped")] [OwnedSemaphorePermit; 2]);

impl Lanes {
    /// Waits a little for a place; `None` if there is none.
    pub(crate) async fn enter(&self, peer: &Url) -> Option<Place> {
        let (scheme, host, port) = (peer.scheme(), peer.host_str().unwrap_or_default(), peer.port_or_known_default());
        let origin = format!("{scheme} {host} {}", port.unwrap_or_default());
        let [each, all] = [self.lane(format!("{origin} {}", peer.path()), WIDTH_EACH), self.lane(origin, WIDTH)];
        let places = async { Some(Place([each.acquire_owned().await.ok()?, all.acquire_owned().await.ok()?])) };
        tokio::time::timeout(PATIENCE, places).await.ok()?
    }

    fn lane(&self, name: String, width: usize) -> Arc<Semaphore> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= MAX_IDLE {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        Arc::clone(lanes.entry(name).or_insert_with(|| Arc::new(Semaphore::new(width))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_full_lane_turns_away_and_leaves_others_alone() {
        let lanes = Lanes::default();
        let mut places = Vec::new();
        for place in 0..WIDTH {
            places.push(lanes.enter(&url(&format!("https://a.example/{place}"))).await.unwrap());
        }
        assert!(lanes.enter(&url("https://a.example/other")).await.is_none());
        drop(lanes.enter(&url("https://b.example/")).await.unwrap());
        places.pop();
        drop(lanes.enter(&url("https://a.example/other")).await.unwrap());
    }

    #[tokio::test]
    async fn a_busy_repository_leaves_places_to_others_on_its_host() {
        let lanes = Lanes::default();
        let mut places = Vec::new();
        for _ in 0..WIDTH_EACH {
            places.push(lanes.enter(&url("https://a.example/busy.git")).await.unwrap());
        }
        assert!(lanes.enter(&url("https://a.example/busy.git")).await.is_none());
        places.push(lanes.enter(&url("https://a.example/quiet.git")).await.unwrap());
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
