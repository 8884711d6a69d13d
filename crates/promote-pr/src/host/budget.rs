//! What one credential may ask of one host, and who is next. Pure: time is passed in.
//!
//! Four bounds hold at once: the host's own window of requests, as its headers tell it; a pause that the host asked for;
//! requests under way at the same time; and the pace of writes and of all requests. GitHub
//! [asks for](https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api) the last two.
//!
//! Pipelines share fairly. Of requests that wait, the one whose pipeline has the fewest under way is next. A request that
//! has to come back is promised a moment of its own, and a pipeline holds a few such promises at most. A window is not
//! spent ahead of time: beyond a fifth of it, requests go at the pace at which the rest lasts until its end.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, Method};

use super::Provider;
use super::wire;

/// How a host wants to be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Most requests under way at once.
    pub(crate) at_once: usize,
    /// The time from one write to the next, in the long run.
    pub(crate) write_gap: Duration,
    /// How many writes may come without a gap.
    pub(crate) write_burst: u32,
    /// Points in a minute, in the long run: a read costs one, a write five.
    pub(crate) points: u32,
    /// How many points may come without a pace.
    pub(crate) points_burst: u32,
}

impl Rules {
    /// GitHub counts [900 points a minute](https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits)
    /// and asks for a second between writes; other hosts get the same courtesy.
    pub(super) fn of(provider: Provider) -> Self {
        let usual = Self {
            at_once: 8,
            write_gap: Duration::from_millis(100),
            write_burst: 50,
            points: 3000,
            points_burst: 1000,
        };
        let github =
            Self { write_gap: Duration::from_secs(1), write_burst: 20, points: 700, points_burst: 150, ..usual };
        if provider == Provider::GitHub { github } else { usual }
    }
}

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// Whether it changes something.
    pub(crate) writes: bool,
    /// Whether it draws on the window of GraphQL, which GitHub [counts apart](https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api).
    pub(crate) graphql: bool,
}

impl Kind {
    pub(super) fn of(method: &Method, path: &str) -> Self {
        Self { writes: !matches!(*method, Method::GET | Method::HEAD), graphql: path.ends_with("/graphql") }
    }

    fn points(self) -> u32 {
        if self.writes { 5 } else { 1 }
    }
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Now; it is under way from here on.
    Go,
    /// Not before others are done.
    Queue,
    /// Not before this time has passed.
    Wait(Duration),
}

/// A request that waits or is under way.
pub(crate) type Ticket = u64;

/// The account of one credential at one host.
#[derive(Debug)]
pub(crate) struct Ledger {
    rules: Rules,
    /// The windows of REST and GraphQL.
    windows: [Option<Window>; 2],
    /// Until when the host wants no request at all.
    closed: Option<Instant>,
    /// When the next write would come if each kept its gap.
    next_write: Option<Instant>,
    /// When the next request would come if each kept the pace of points.
    next_points: Option<Instant>,
    /// The moments that pipelines were promised.
    promises: HashMap<Arc<str>, VecDeque<Instant>>,
    waiting: BTreeMap<Ticket, Wish>,
    under_way: HashMap<Ticket, Wish>,
    tickets: Ticket,
}

#[derive(Clone, Debug)]
struct Wish {
    pipeline: Arc<str>,
    kind: Kind,
    /// The moment from which on it may go, once the pace is settled.
    slot: Option<Instant>,
}

/// The host's count of requests.
#[derive(Debug)]
struct Window {
    limit: u64,
    remaining: u64,
    ends: Instant,
    /// When it was first seen, and what was left of it.
    seen: (Instant, u64),
    /// When the next request would come if each kept the window's pace.
    next: Option<Instant>,
}

/// What an answer says about further requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Size, rest and remaining time of the window.
    pub(crate) window: Option<(u64, u64, Duration)>,
    /// How long the host wants no request.
    pub(crate) pause: Option<Duration>,
}

/// Two windows that end less than this apart are one.
const SAME_WINDOW: Duration = Duration::from_secs(30);

/// The part of a window that may be spent ahead of time.
const AHEAD: u64 = 5;

/// The part of a window that is kept for writes.
const FOR_WRITES: u64 = 20;

/// Most promises that a pipeline holds.
const PROMISES: usize = 8;

/// How long a promise is kept.
const KEPT: Duration = Duration::from_secs(120);

impl Ledger {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            windows: [None, None],
            closed: None,
            next_write: None,
            next_points: None,
            promises: HashMap::new(),
            waiting: BTreeMap::new(),
            under_way: HashMap::new(),
            tickets: 0,
        }
    }

    /// Puts a request into the queue.
    pub(crate) fn queue(&mut self, pipeline: &Arc<str>, kind: Kind) -> Ticket {
        self.tickets += 1;
        self.waiting.insert(self.tickets, Wish { pipeline: Arc::clone(pipeline), kind, slot: None });
        self.tickets
    }

    /// Whether it is the ticket's turn.
    pub(crate) fn turn(&mut self, now: Instant, ticket: Ticket) -> Turn {
        let Some(mut wish) = self.waiting.get(&ticket).cloned() else {
            return Turn::Go;
        };
        if let Some(wait) = self.closed_for(now, &wish) {
            return Turn::Wait(wait);
        }
        let slot = match wish.slot {
            Some(slot) => slot,
            None => match self.pace(now, &wish) {
                Ok(slot) => slot,
                Err(wait) => return Turn::Wait(wait),
            },
        };
        wish.slot = Some(slot);
        self.waiting.insert(ticket, wish.clone());
        if let Some(wait) = left(now, slot) {
            return Turn::Wait(wait);
        }
        if self.under_way.len() >= self.rules.at_once || self.best(now) != Some(ticket) {
            return Turn::Queue;
        }
        self.waiting.remove(&ticket);
        if wish.kind.writes {
            self.next_write = Some(self.next_write.map_or(now, |next| next.max(now)) + self.rules.write_gap);
        }
        self.under_way.insert(ticket, wish);
        Turn::Go
    }

    /// Takes note of an answer.
    pub(crate) fn answered(&mut self, now: Instant, ticket: Ticket, told: Told) {
        let Some(wish) = self.under_way.remove(&ticket) else {
            return;
        };
        if let Some(pause) = told.pause {
            self.closed = self.closed.max(Some(now + pause));
        }
        let Some((limit, remaining, left)) = told.window else {
            return;
        };
        let ends = now + left;
        match self.window_mut(wish.kind) {
            // Resets are told in whole seconds; answers may overtake each other.
            Some(window) if ends < window.ends + SAME_WINDOW => {
                window.remaining = window.remaining.min(remaining);
                window.limit = limit;
            }
            window => *window = Some(Window { limit, remaining, ends, seen: (now, remaining), next: None }),
        }
    }

    /// The request is given up, before or after it was sent. Its moment stays promised to its pipeline.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.under_way.remove(&ticket);
        if let Some(Wish { pipeline, slot: Some(slot), .. }) = self.waiting.remove(&ticket) {
            self.promises.entry(pipeline).or_default().push_back(slot);
        }
    }

    /// Whether it is GraphQL's, size and rest of each window that has not ended.
    pub(crate) fn quotas(&self, now: Instant) -> impl Iterator<Item = (bool, u64, u64)> + use<> {
        let [rest, graphql] = &self.windows;
        let of = |graphql: bool, window: &Option<Window>| {
            let window = window.as_ref().filter(|window| left(now, window.ends).is_some())?;
            Some((graphql, window.limit, window.remaining))
        };
        [of(false, rest), of(true, graphql)].into_iter().flatten()
    }

    fn window_mut(&mut self, kind: Kind) -> &mut Option<Window> {
        let [rest, graphql] = &mut self.windows;
        if kind.graphql { graphql } else { rest }
    }

    fn window(&self, kind: Kind) -> Option<&Window> {
        let [rest, graphql] = &self.windows;
        if kind.graphql { graphql.as_ref() } else { rest.as_ref() }
    }

    /// How long nothing goes for this pipeline and kind, whoever else waits.
    fn closed_for(&self, now: Instant, wish: &Wish) -> Option<Duration> {
        if let Some(left) = self.closed.and_then(|until| left(now, until)) {
            return Some(left + spread(&wish.pipeline));
        }
        if let Some(window) = self.window(wish.kind)
            && let Some(left) = left(now, window.ends)
        {
            let under_way = self.under_way.values().filter(|other| other.kind.graphql == wish.kind.graphql).count();
            if window.remaining <= u64::try_from(under_way).unwrap_or(u64::MAX) {
                return Some(left + spread(&wish.pipeline));
            }
        }
        if !wish.kind.writes {
            return None;
        }
        let burst = self.rules.write_gap * self.rules.write_burst.saturating_sub(1);
        left(now, self.next_write?.checked_sub(burst)?)
    }

    /// The moment at which a request may go: now, or a promise. A pipeline that holds its promises gets no other, but the
    /// time until the last of them.
    fn pace(&mut self, now: Instant, wish: &Wish) -> Result<Instant, Duration> {
        self.promises.retain(|_, slots| {
            slots.retain(|slot| *slot + KEPT > now);
            !slots.is_empty()
        });
        if let Some(slots) = self.promises.get_mut(&wish.pipeline) {
            if slots.front().is_some_and(|slot| left(now, *slot).is_none()) {
                return slots.pop_front().ok_or(Duration::ZERO);
            }
            if slots.len() >= PROMISES {
                return Err(slots.back().and_then(|slot| left(now, *slot)).unwrap_or(Duration::ZERO));
            }
        }
        let points = Duration::from_secs(60) / self.rules.points.max(1);
        let next = self.next_points.map_or(now, |next| next.max(now));
        self.next_points = Some(next + points * wish.kind.points());
        let mut slot = next.checked_sub(points * self.rules.points_burst).map_or(now, |slot| slot.max(now));
        if let Some(window) = self.window_mut(wish.kind) {
            slot = slot.max(window.pace(now, wish.kind));
        }
        Ok(slot)
    }

    /// The next of those that could go.
    fn best(&self, now: Instant) -> Option<Ticket> {
        let mut busy: HashMap<&str, usize> = HashMap::new();
        for wish in self.under_way.values() {
            *busy.entry(&*wish.pipeline).or_default() += 1;
        }
        let able = self.waiting.iter().filter(|(_, wish)| {
            wish.slot.is_some_and(|slot| left(now, slot).is_none()) && self.closed_for(now, wish).is_none()
        });
        able.min_by_key(|(ticket, wish)| (busy.get(&*wish.pipeline).copied().unwrap_or(0), **ticket))
            .map(|(ticket, _)| *ticket)
    }
}

impl Window {
    /// The moment at which the window has room for one more.
    fn pace(&mut self, now: Instant, kind: Kind) -> Instant {
        let (Some(left), (since, at_first)) = (left(now, self.ends), self.seen) else {
            return now;
        };
        let whole = self.ends.saturating_duration_since(since).as_secs().max(1);
        let even = at_first.saturating_mul(left.as_secs()) / whole;
        let is_ahead = self.remaining + self.limit / AHEAD < even;
        if !is_ahead || (kind.writes && self.remaining > self.limit / FOR_WRITES) {
            return now;
        }
        let gap = left / u32::try_from(self.remaining.max(1)).unwrap_or(u32::MAX);
        let slot = self.next.map_or(now, |next| next.max(now));
        self.next = Some(slot + gap);
        slot
    }
}

impl Told {
    /// The limit headers of GitHub, Gitea, Bitbucket and Azure DevOps (`x-ratelimit-…`), and those of
    /// [GitLab](https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers) and the
    /// [IETF's draft](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/) (`ratelimit-…`).
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let window = ["x-ratelimit", "ratelimit"].into_iter().find_map(|prefix| {
            let number = |name: &str| {
                let name = HeaderName::try_from(format!("{prefix}-{name}")).ok()?;
                wire::header(headers, &name)?.parse::<u64>().ok()
            };
            let (limit, remaining, reset) = (number("limit")?, number("remaining")?, number("reset")?);
            // Some tell the second on the clock, some the seconds that are left.
            let left = match i64::try_from(reset).ok()? {
                clock @ 1_000_000_000.. => wire::until(headers, clock)?,
                _ => reset,
            };
            Some((limit, remaining, Duration::from_secs(left).min(wire::MAX_PAUSE)))
        });
        Self { window, ..Self::default() }
    }
}

/// The time until an instant, if that is yet to come.
fn left(now: Instant, until: Instant) -> Option<Duration> {
    until.checked_duration_since(now).filter(|left| !left.is_zero())
}

/// Up to a minute, the same for a pipeline each time: not everybody comes back at once.
fn spread(pipeline: &str) -> Duration {
    let sum = pipeline.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    Duration::from_millis(sum % 60_000)
}

#[cfg(test)]
mod tests;
