//! Who leads: the rules of electing one of several processes by a Lease. Pure; `election` asks the API server.
//!
//! No clock is ever compared with another one, and no time that a Lease says is believed. Whoever leads counts its time from
//! before it asked for it; whoever waits counts from after it saw the Lease change last, and for longer. A write names the
//! version of the Lease that was read, so that of two who write, one is refused.
//! <https://kubernetes.io/docs/concepts/architecture/leases/>

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// A moment on this machine's steady clock: the time since it was started, in which it also counts while it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub Duration);

impl Moment {
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// Time from `earlier` to this; none if that is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// For how long a lease holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long others wait after they saw the Lease change last.
    pub duration: Duration,
    /// How long whoever leads acts after it asked for that last; shorter.
    pub renew_deadline: Duration,
    /// Between two looks at the Lease; shorter still.
    pub retry_period: Duration,
}

/// What a Lease says, as far as electing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub version: String,
    /// Empty: nobody.
    pub holder: String,
    pub duration: Duration,
}

impl Held {
    pub(crate) fn of(lease: &Lease) -> Self {
        let spec = lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        Self {
            version: lease.metadata.resource_version.clone().unwrap_or_default(),
            holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        }
    }
}

/// One that would lead, or does.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    identity: String,
    terms: Terms,
    /// Until when it may act, if it leads.
    until: Option<Moment>,
    seen: Option<Seen>,
}

/// The Lease of somebody else.
#[derive(Clone, Debug)]
struct Seen {
    version: String,
    since: Moment,
    duration: Duration,
}

/// What to do about the Lease that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is somebody else's.
    Wait,
    /// Take or renew it, provided that it is still as it was read.
    Write,
}

/// Why it leads no more. It never will again: what it began may have been done by others since.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    #[error("it could not be renewed in time")]
    Expired,
    #[error("{0} has it")]
    Taken(String),
    #[error("it was deleted or released by somebody else")]
    Gone,
}

impl Contender {
    /// `identity` is no other process', before or after.
    pub(crate) fn new(identity: String, terms: Terms) -> Self {
        Self { identity, terms, until: None, seen: None }
    }

    /// What to do about the Lease, or that there is none; `now` is after the answer came.
    pub(crate) fn next(&mut self, lease: Option<&Held>, now: Moment) -> Result<Next, Lost> {
        if let Some(until) = self.until {
            return match lease {
                _ if now >= until => Err(Lost::Expired),
                Some(lease) if lease.holder == self.identity => Ok(Next::Write),
                Some(lease) if !lease.holder.is_empty() => Err(Lost::Taken(lease.holder.clone())),
                _ => Err(Lost::Gone),
            };
        }
        let is_anothers = |lease: &&Held| !lease.holder.is_empty() && lease.holder != self.identity;
        if lease.is_some_and(|lease| lease.holder.is_empty() || lease.holder == self.identity) {
            // Released, or written by this process, which has not heard that it was.
            return Ok(Next::Write);
        }
        if let Some(lease) = lease.filter(is_anothers)
            && self.seen.as_ref().is_none_or(|seen| seen.version != lease.version)
        {
            let duration = lease.duration.max(self.terms.duration);
            self.seen = Some(Seen { version: lease.version.clone(), since: now, duration });
        }
        // Whose Lease was deleted may act for a while longer.
        let waits = self.seen.as_ref().is_some_and(|seen| now.since(seen.since) < seen.duration);
        Ok(if waits { Next::Wait } else { Next::Write })
    }

    /// The Lease was written as [`Contender::next`] said, which was asked for at `before` and is known `now`. Until when it leads;
    /// `None` if that is over already and it did not lead before.
    pub(crate) fn written(&mut self, before: Moment, now: Moment) -> Result<Option<Moment>, Lost> {
        let until = before.after(self.terms.renew_deadline);
        if self.until.is_some_and(|until| now >= until) {
            return Err(Lost::Expired);
        }
        if now < until {
            self.until = Some(until);
        }
        Ok(self.until)
    }

    /// What the Lease says when it leads.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Until when it may act, if it leads.
    pub(crate) fn until(&self) -> Option<Moment> {
        self.until
    }

    /// Whose Lease it is, as it is written.
    pub(crate) fn lease(&self, read: Option<Lease>, now: Timestamp) -> Lease {
        let mut lease = read.unwrap_or_default();
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |times| times.saturating_add(1)));
            spec.acquire_time = Some(MicroTime(now));
            spec.holder_identity = Some(self.identity.clone());
        }
        let seconds = self.terms.duration.as_secs().saturating_add(u64::from(self.terms.duration.subsec_nanos() > 0));
        spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
        spec.renew_time = Some(MicroTime(now));
        lease
    }
}

/// The Lease of nobody: whoever sees it may take it at once.
pub(crate) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(String::new()),
        // https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go has it so.
        lease_duration_seconds: Some(1),
        lease_transitions: transitions,
        renew_time: Some(MicroTime(now)),
        ..LeaseSpec::default()
    });
    lease
}

#[cfg(test)]
mod tests;
