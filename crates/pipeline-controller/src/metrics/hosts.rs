//! Hosts as values of a label: they come from whoever writes Pipelines, so there is an end to them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// Hosts that are counted apart.
pub(super) const MAX: usize = 64;
pub(super) const OTHER: &str = "other";

/// The hosts that were called first.
#[derive(Debug, Default)]
pub(super) struct Hosts(RwLock<BTreeSet<String>>);

impl Hosts {
    /// The label of a peer, which is a host and port, perhaps with a scheme.
    pub(super) fn label(&self, peer: &str) -> Cow<'static, str> {
        let host = peer.split_once("://").map_or(peer, |(_, host)| host);
        if self.0.read().unwrap_or_else(PoisonError::into_inner).contains(host) {
            return Cow::Owned(host.to_owned());
        }
        let mut hosts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= MAX && !hosts.contains(host) {
            return Cow::Borrowed(OTHER);
        }
        hosts.insert(host.to_owned());
        Cow::Owned(host.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_bounded() {
        let hosts = Hosts::default();
        assert_eq!(hosts.label("https://git.example:8443"), "git.example:8443");
        let labels: BTreeSet<_> = (0..1000).map(|n| hosts.label(&format!("https://{n}.example"))).collect();
        assert_eq!(labels.len(), MAX);
        assert!(labels.contains(OTHER));
        assert_eq!(hosts.label("git.example:8443"), "git.example:8443");
    }
}
