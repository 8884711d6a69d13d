//! How often one peer may call.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::counted;

/// Peers that are remembered; when there are more, those whose interval is over are forgotten, and then all.
const MAX_PEERS: usize = 10_000;

/// So many requests of one peer in each interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub requests: u32,
    pub interval: Duration,
}

/// Counts requests by the address that they come from, whatever their headers say of it.
pub(super) struct Limiter {
    rate: Rate,
    /// When each interval began, and the requests since.
    peers: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Limiter {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, peers: Mutex::default() }
    }

    /// Counts a request at `now`; the time to wait if it is one too many.
    pub(super) fn refuses(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |began: Instant| self.rate.interval.checked_sub(now.saturating_duration_since(began));
        if peers.len() >= MAX_PEERS {
            peers.retain(|_, (began, _)| left(*began).is_some());
        }
        if peers.len() >= MAX_PEERS {
            peers.clear();
        }
        let (began, requests) = peers.entry(counted(peer)).or_insert((now, 0));
        if left(*began).is_none() {
            (*began, *requests) = (now, 0);
        }
        *requests = requests.saturating_add(1);
        (*requests > self.rate.requests).then(|| left(*began).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_share_of_each_interval() {
        let limiter = Limiter::new(Rate { requests: 2, interval: Duration::from_secs(30) });
        let start = Instant::now();
        let check = |peer: &str, seconds: u64, expect: Option<u64>| {
            let wait = limiter.refuses(peer.parse().unwrap(), start + Duration::from_secs(seconds));
            assert_eq!(wait, expect.map(Duration::from_secs), "{peer} at {seconds}");
        };
        check("192.0.2.1", 0, None);
        check("192.0.2.1", 10, None);
        check("192.0.2.1", 20, Some(10));
        check("::ffff:192.0.2.1", 20, Some(10));
        check("192.0.2.2", 20, None);
        check("192.0.2.1", 31, None);
        check("2001:db8::1", 0, None);
        check("2001:db8::2", 0, None);
        check("2001:db8::3", 0, Some(30));
        check("2001:db8:0:1::1", 0, None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let limiter = Limiter::new(Rate { requests: 1, interval: Duration::from_secs(30) });
        let now = Instant::now();
        for bits in 0..u32::try_from(3 * MAX_PEERS).unwrap() {
            limiter.refuses(IpAddr::V4(bits.into()), now);
        }
        assert!(limiter.peers.lock().unwrap().len() <= MAX_PEERS);
    }
}
