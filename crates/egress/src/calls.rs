//! How calls end, in numbers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use http::StatusCode;

use crate::Error;

/// Peers that are counted apart; those that come later are counted together, for their names come from outside.
const MAX_PEERS: usize = 512;
const OTHERS: &str = "others";

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Connected, without an answer to speak of: TCP alone.
    Connected,
    /// 1xx or 2xx.
    Success,
    /// 3xx.
    Redirect,
    /// 4xx.
    ClientError,
    /// 5xx and beyond.
    ServerError,
    /// Refused before anything was sent: the URL, the address, the gate, the proxy or the request.
    Refused,
    /// No connection.
    Unreachable,
    /// The deadline passed.
    Deadline,
    /// The connection broke.
    Broken,
    /// The answer was too long.
    TooLong,
}

impl Outcome {
    pub(crate) fn of(result: Result<Option<StatusCode>, &Error>) -> Self {
        match result {
            Ok(None) => Self::Connected,
            Ok(Some(status)) => match status.as_u16() {
                100..=299 => Self::Success,
                300..=399 => Self::Redirect,
                400..=499 => Self::ClientError,
                _ => Self::ServerError,
            },
            Err(error) => match error {
                Error::Ca { .. }
                | Error::ClientCertificate { .. }
                | Error::Proxy { .. }
                | Error::Tls { .. }
                | Error::Url { .. }
                | Error::Denied { .. }
                | Error::Shut { .. }
                | Error::Request { .. } => Self::Refused,
                Error::Connect { .. } => Self::Unreachable,
                Error::Broken { .. } => Self::Broken,
                Error::Deadline { .. } => Self::Deadline,
                Error::TooLong { .. } => Self::TooLong,
            },
        }
    }

    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Success => "success",
            Self::Redirect => "redirect",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
            Self::Broken => "broken",
            Self::TooLong => "too_long",
        }
    }
}

/// How often calls to one peer ended in one way. An answer whose body fails counts as its status, and again as that failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallCount {
    /// Scheme, host and port; `others` for those that came after the first 512.
    pub peer: String,
    /// How they ended.
    pub outcome: Outcome,
    /// How many did.
    pub count: u64,
}

#[derive(Default)]
pub(crate) struct Calls(Mutex<BTreeMap<String, BTreeMap<Outcome, u64>>>);

impl Calls {
    pub(crate) fn note(&self, peer: &str, outcome: Outcome) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = if peers.contains_key(peer) || peers.len() < MAX_PEERS { peer } else { OTHERS };
        let count = peers.entry(peer.to_owned()).or_default().entry(outcome).or_default();
        *count = count.saturating_add(1);
    }

    pub(crate) fn counts(&self) -> Vec<CallCount> {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers
            .iter()
            .flat_map(|(peer, outcomes)| {
                outcomes.iter().map(|(&outcome, &count)| CallCount { peer: peer.clone(), outcome, count })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_bounded() {
        let calls = Calls::default();
        for host in 0..2 * MAX_PEERS {
            calls.note(&format!("https://{host}.example"), Outcome::Success);
        }
        let counts = calls.counts();
        assert_eq!(counts.len(), MAX_PEERS + 1);
        let others = counts.iter().find(|count| count.peer == OTHERS).unwrap();
        assert_eq!(others.count, u64::try_from(MAX_PEERS).unwrap());
    }
}
