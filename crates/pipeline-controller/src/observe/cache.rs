//! The applications of one kind on one API server, kept in memory as what deciding needs of them.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use pipeline_api::conditions::Reason;
use tokio::sync::{Notify, mpsc, watch};

use super::application::{self, Kind};
use super::clusters::{self, Connection};
use super::followers::{Follower, Followers, Name};
use super::reader::{self, Failure};
use crate::observed::{Application, Unreadable};

/// Objects of one page of a list. Each may have more than a megabyte.
const PAGE: u32 = 100;
/// How long a watch of another cluster lasts before the next one follows it: a cluster that hangs is noticed by that.
const REMOTE_WATCH: u32 = 30;
/// How long what was watched last is believed after the API server fell silent.
const GRACE: Duration = Duration::from_secs(15);
/// After the API server answered that there is no such kind, or something else that time alone does not mend.
const RETRY: Duration = Duration::from_secs(5);
/// The longest time between two tries to reach an API server that does not answer.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Between two looks at what may be read and not watched.
const POLL: Duration = Duration::from_secs(30);
/// Objects that are then read at the same time.
const POLLED_AT_ONCE: usize = 8;

/// What is watched as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    /// The GitopsCluster; none: this cluster.
    pub cluster: Option<clusters::Name>,
    pub kind: Kind,
    /// None: all namespaces.
    pub namespace: Option<String>,
}

pub(crate) struct Cache {
    source: Source,
    started: Instant,
    known: watch::Sender<Known>,
    pub(crate) followers: Followers,
    /// An object is followed that was not before.
    more: Notify,
    wake: mpsc::Sender<Follower>,
}

#[derive(Default)]
struct Known {
    state: State,
    /// Those that there are; when polled, those that were asked for.
    objects: HashMap<Name, Result<Option<Application>, Unreadable>>,
}

#[derive(Default)]
enum State {
    #[default]
    Starting,
    Watched,
    /// They may be read and not watched.
    Polled,
    Failing(Unreadable),
}

/// Which followers a change concerns.
enum Changed {
    All,
    These(Vec<Name>),
}

/// Since when an API server is silent, and how often it was tried since.
#[derive(Default)]
struct Outage {
    since: Option<(Instant, Timestamp)>,
    tries: u32,
}

impl Cache {
    /// An empty cache; [`Cache::run`] fills it. `wake` gets each follower of an application that changed.
    pub(crate) fn new(source: Source, wake: mpsc::Sender<Follower>) -> Self {
        let started = Instant::now();
        Self {
            source,
            started,
            known: watch::Sender::default(),
            followers: Followers::default(),
            more: Notify::new(),
            wake,
        }
    }

    /// How the watch is, for metrics.
    pub(crate) fn state(&self) -> &'static str {
        match self.known.borrow().state {
            State::Starting => "starting",
            State::Watched => "watched",
            State::Polled => "polled",
            State::Failing(_) => "failing",
        }
    }

    /// From now on, `follower` is woken when the application changes.
    pub(crate) fn follow(&self, name: Name, follower: Follower) {
        if self.followers.add(name, follower) {
            self.more.notify_one();
        }
    }

    /// What is known of an application, once anything is; none after `patience`, which begins with the cache: a cluster that hangs
    /// holds those who ask for it once, not each for itself.
    pub(crate) async fn read(
        &self,
        name: &Name,
        patience: Duration,
    ) -> Option<Result<Option<Application>, Unreadable>> {
        let mut known = self.known.subscribe();
        let answer = known.wait_for(|known| known.knows(name));
        let answer = tokio::time::timeout(patience.saturating_sub(self.started.elapsed()), answer).await.ok()?.ok()?;
        answer.answer(name)
    }

    /// Keeps the cache, with each connection in turn, until this is dropped. `broken` is told when an API server fails.
    pub(crate) async fn run(&self, mut connection: watch::Receiver<Connection>, broken: impl Fn()) {
        loop {
            let current = connection.borrow_and_update().clone();
            let changed = async {
                if connection.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            match current {
                Connection::Pending => changed.await,
                Connection::Down(why) => {
                    self.fail(why).await;
                    changed.await;
                }
                Connection::Up(client) => {
                    tokio::select! {
                        () = self.keep(&client, &broken) => {}
                        () = changed => {}
                    }
                    // Maybe of another cluster.
                    self.known.send_replace(Known::default());
                }
            }
        }
    }

    async fn keep(&self, client: &Client, broken: &impl Fn()) {
        let mut outage = Outage::default();
        loop {
            let failure = match reader::discover(client, &self.source.kind).await {
                Ok(resource) => match self.watch(client, &resource, &mut outage).await {
                    Failure::Forbidden(why) => {
                        self.poll(client, &resource, &why).await;
                        continue;
                    }
                    // Served no more: that is for discovery to say.
                    Failure::NotThere(_) => {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        continue;
                    }
                    failure => failure,
                },
                Err(failure) => failure,
            };
            let delay = match failure {
                Failure::Server(why) => {
                    broken();
                    let (since, begun) = *outage.since.get_or_insert_with(now);
                    outage.tries = outage.tries.saturating_add(1);
                    if since.elapsed() >= GRACE || !self.known.borrow().is_filled() {
                        let why = format!("{why} (since {})", begun.strftime("%Y-%m-%dT%H:%M:%SZ"));
                        self.fail(self.source.unreadable(Failure::Server(why))).await;
                    }
                    backoff(outage.tries)
                }
                failure => {
                    self.fail(self.source.unreadable(failure)).await;
                    RETRY
                }
            };
            tokio::time::sleep(delay).await;
        }
    }

    /// Watches until that fails.
    async fn watch(&self, client: &Client, resource: &ApiResource, outage: &mut Outage) -> Failure {
        let api: Api<DynamicObject> = match &self.source.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
            None => Api::all_with(client.clone(), resource),
        };
        let config = watcher::Config::default().page_size(PAGE);
        let config = if self.source.cluster.is_some() { config.timeout(REMOTE_WATCH) } else { config };
        let mut events = pin!(watcher::watcher(api, config));
        let mut listed = HashMap::new();
        let read = |object: &DynamicObject| Ok(Some(application::read(&self.source.kind, object)));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => drop(listed.insert(name(&object), read(&object))),
                Ok(Event::InitDone) => {
                    *outage = Outage::default();
                    self.replace(State::Watched, std::mem::take(&mut listed)).await;
                }
                Ok(Event::Apply(object)) => self.set(name(&object), Some(read(&object))).await,
                Ok(Event::Delete(object)) => self.set(name(&object), None).await,
                Err(error) => {
                    let what = format!("cannot watch {}", resource.plural);
                    if let Some(failure) = Failure::of_watch(&error, &what) {
                        tracing::debug!(application.kind = resource.kind, cluster = ?self.source.cluster, "watch interrupted: {failure:?}");
                        return failure;
                    }
                }
            }
        }
        Failure::Server("the watch ended".to_owned())
    }

    /// Reads what is followed one by one, until it is time to try again whether it may be watched.
    async fn poll(&self, client: &Client, resource: &ApiResource, why: &str) {
        if !matches!(self.known.borrow().state, State::Polled) {
            tracing::warn!(
                application.kind = resource.kind, namespace = self.source.namespace, cluster = ?self.source.cluster,
                "{why}: each application is read every {} s instead; grant list and watch to notice changes at once",
                POLL.as_secs()
            );
        }
        let deadline = tokio::time::Instant::now() + POLL;
        loop {
            let reads = self.followers.names().into_iter().map(async |name| {
                let read = reader::get(client, resource, &self.source.kind, &name.0, &name.1).await;
                (name, read.map_err(|failure| self.source.unreadable(failure)))
            });
            let objects = futures::stream::iter(reads).buffer_unordered(POLLED_AT_ONCE).collect().await;
            self.replace(State::Polled, objects).await;
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                () = self.more.notified() => {}
            }
        }
    }

    async fn replace(&self, state: State, objects: HashMap<Name, Result<Option<Application>, Unreadable>>) {
        let mut changed = Changed::All;
        self.known.send_modify(|known| {
            let goes_on =
                matches!((&known.state, &state), (State::Watched, State::Watched) | (State::Polled, State::Polled));
            let before = std::mem::replace(known, Known { state, objects });
            if goes_on {
                let names: HashSet<&Name> = before.objects.keys().chain(known.objects.keys()).collect();
                let differ = names.into_iter().filter(|name| before.objects.get(*name) != known.objects.get(*name));
                changed = Changed::These(differ.cloned().collect());
            }
        });
        self.wake(changed).await;
    }

    async fn set(&self, name: Name, object: Option<Result<Option<Application>, Unreadable>>) {
        let changed = self.known.send_if_modified(|known| match object {
            Some(object) if known.objects.get(&name) == Some(&object) => false,
            Some(object) => {
                known.objects.insert(name.clone(), object);
                true
            }
            None => known.objects.remove(&name).is_some(),
        });
        if changed {
            self.wake(Changed::These(vec![name])).await;
        }
    }

    async fn fail(&self, why: Unreadable) {
        let changed = self.known.send_if_modified(|known| {
            if matches!(&known.state, State::Failing(before) if *before == why) {
                return false;
            }
            *known = Known { state: State::Failing(why), objects: HashMap::new() };
            true
        });
        if changed {
            self.wake(Changed::All).await;
        }
    }

    async fn wake(&self, changed: Changed) {
        let followers = match changed {
            Changed::All => self.followers.all(),
            Changed::These(names) => self.followers.of(&names),
        };
        for follower in followers {
            if self.wake.send(follower).await.is_err() {
                tracing::debug!("not woken: the controller is stopping");
            }
        }
    }
}

impl Known {
    fn is_filled(&self) -> bool {
        matches!(self.state, State::Watched | State::Polled)
    }

    fn knows(&self, name: &Name) -> bool {
        match &self.state {
            State::Starting => false,
            State::Watched | State::Failing(_) => true,
            State::Polled => self.objects.contains_key(name),
        }
    }

    fn answer(&self, name: &Name) -> Option<Result<Option<Application>, Unreadable>> {
        match &self.state {
            State::Starting => None,
            State::Watched => Some(self.objects.get(name).cloned().unwrap_or(Ok(None))),
            State::Polled => self.objects.get(name).cloned(),
            State::Failing(why) => Some(Err(why.clone())),
        }
    }
}

impl Source {
    /// How a failure shows on a target.
    pub(crate) fn unreadable(&self, failure: Failure) -> Unreadable {
        match (&self.cluster, failure) {
            (Some(cluster), Failure::Server(message)) => clusters::not_ready(cluster, &message),
            (Some((namespace, name)), failure) => Unreadable {
                reason: Reason::TargetNotReadable,
                message: format!("GitopsCluster {namespace}/{name}: {}", failure.message()),
            },
            (None, failure) => Unreadable { reason: Reason::TargetNotReadable, message: failure.message() },
        }
    }
}

fn name(object: &DynamicObject) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn backoff(tries: u32) -> Duration {
    let seconds = 2_u64.saturating_pow(tries.saturating_sub(1));
    Duration::from_secs(seconds).min(MAX_BACKOFF)
}

#[expect(clippy::disallowed_methods, reason = "people are told since when an API server is silent")]
fn now() -> (Instant, Timestamp) {
    (Instant::now(), Timestamp::now())
}
