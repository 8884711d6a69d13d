//! Starts the parts, and stops them.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::runtime::controller::{self, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Predicate, WatchStreamExt, predicates, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use pipeline_api::Pipeline;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::claims::Claims;
use crate::context::{Context, Looks};
use crate::election::{self, Election};
use crate::endpoints::{self, Endpoints, Legacy, Rate};
use crate::everyone::Everyone;
use crate::health::{self, Readiness};
use crate::hooks::Hooks;
use crate::leader::Leader;
use crate::metrics::{ApiServer, Metrics};
use crate::notifications::Notifications;
use crate::observe::applications::Applications;
use crate::observe::clusters::Clusters;
use crate::observe::followers::PipelineMeta;
use crate::policy::Policy;
use crate::reconcile::{on_error, reconcile};
use crate::record::MANAGER;
use crate::shard::Shard;
use crate::start;
use crate::strategies::notification::EventsReceiver;
use crate::strategies::{Network, Strategies};
use crate::telemetry::trace::Traces;
use crate::telemetry::{self, Telemetry};
use crate::wake::Wake;
use crate::watch::watch;

/// Wake-ups that may wait for the controller's loop.
const WAKE_QUEUE: usize = 1024;

/// For the events that wait to be sent when the controller stops.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the controller until it is told to stop by SIGTERM or SIGINT.
pub fn run(args: Args) -> ExitCode {
    // It fails only where one was installed before.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // There is no log yet.
            writeln!(io::stderr(), "cannot start the runtime: {error}").ok();
            return ExitCode::FAILURE;
        }
    };
    let metrics = Arc::<Metrics>::default();
    let own = Network { ca_file: args.ca_file.clone(), ..Network::default() };
    let served = telemetry::start(&args.telemetry, &own, runtime.handle()).and_then(|telemetry| {
        let served = runtime.block_on(serve(args, metrics, &telemetry));
        telemetry.stop();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            // What still runs on threads of its own is not waited for: it may not go on.
            runtime.shutdown_background();
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args, metrics: Arc<Metrics>, telemetry: &Telemetry) -> anyhow::Result<()> {
    start::check(&args)?;
    let stop = stop_on_signal()?;
    let config = start::config(&args).await?;
    let leader = if args.election.leader_elect { Leader::elected_later() } else { Leader::alone() };
    metrics.set_concurrent(args.concurrent);
    metrics.set_leader(&lease(&args), !args.election.leader_elect);
    let counted = ApiServer::new(&metrics, &config.cluster_url);
    let clients = Clients {
        any: counted.client(config.clone()).context("cannot make a client for the API server")?,
        acting: leader.client(config.clone(), &counted).context("cannot make a client for the API server")?,
    };
    let readiness = Readiness::default();
    // The probes are answered until the last running reconcile has ended.
    let ended = CancellationToken::new();
    let health =
        tokio::spawn(health::serve(args.health_probe_bind_address, readiness.clone(), ended.clone().cancelled_owned()));
    let scraped =
        telemetry::serve::open(args.telemetry.metrics_bind_address, &metrics, &telemetry.level, &ended).await?;
    let _ended = ended.drop_guard();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = args.namespace, "starting");

    let hooks = TcpListener::bind(args.promotion_hook_bind_address)
        .await
        .with_context(|| format!("--promotion-hook-bind-address {}", args.promotion_hook_bind_address))?;

    let controller = async {
        let Some(pipelines) = start::pipelines(&clients.any, &args, &stop).await? else {
            return Ok(());
        };
        let network = start::network(&args, &clients.any, &config.cluster_url, &leader).await;
        let network = Network { observer: Some(Arc::<Metrics>::clone(&metrics)), ..network };
        // What was done is told to the end; what is to be done is not begun by those who may not act.
        let telling = Network { gate: None, ..network.clone() };
        let events = |network: &Network| {
            let address = args.events_addr.clone().and_then(|address| address.0);
            address.map(|address| EventsReceiver::open(address, network)).transpose().context("--events-addr")
        };
        let strategies = Strategies::open(options(&args, &metrics), &network, events(&network)?)?;
        let (notifications, sending) = match events(&telling)? {
            Some(receiver) => {
                let (notifications, send) = Notifications::open(receiver, Arc::clone(&metrics));
                (notifications, Some(tokio::spawn(send)))
            }
            None => (Notifications::default(), None),
        };
        let outbound = Outbound { strategies, notifications, metrics, traces: telemetry.traces.clone() };
        control(pipelines, clients, leader, outbound, hooks, &args, readiness, &stop).await?;
        if let Some(sending) = sending
            && tokio::time::timeout(LAST_WORDS, sending).await.is_err()
        {
            tracing::warn!("events are left that were not sent to --events-addr");
        }
        anyhow::Ok(())
    };
    tokio::select! {
        result = controller => result?,
        result = health => {
            let served = result.context("the server of the probes died")?;
            served.with_context(|| format!("--health-probe-bind-address {}", args.health_probe_bind_address))?;
        }
        result = scraped => result.context("--metrics-bind-address")?,
    }
    tracing::info!("stopped");
    Ok(())
}

/// By what the controller speaks to others.
struct Outbound {
    strategies: Strategies,
    notifications: Notifications,
    metrics: Arc<Metrics>,
    traces: Traces,
}

/// By what it speaks to the API server.
struct Clients {
    any: Client,
    /// Writes only while this process leads.
    acting: Client,
}

/// Follows until elected, then reconciles until stopped, and lets running reconciles end.
///
/// # Errors
/// The lease cannot be had, or was lost: nothing is running any more that could act.
#[expect(clippy::too_many_arguments, reason = "what one process is made of")]
async fn control(
    pipelines: Api<PipelineMeta>,
    clients: Clients,
    leader: Leader,
    Outbound { strategies, notifications, metrics, traces }: Outbound,
    listener: TcpListener,
    args: &Args,
    readiness: Readiness,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let election = election(&clients.any, leader.clone(), args)?;
    let (store, writer) = reflector::store();
    let (queue, woken) = mpsc::channel(WAKE_QUEUE);
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
    let looks = Looks::default();
    let hooks = Arc::new(Hooks::new(looks.clone()));
    let claims = Arc::new(Claims::new(queue.clone()));
    let everyone = Everyone { hooks: Arc::clone(&hooks), claims: Arc::clone(&claims) };
    let endpoints = Endpoints {
        client: clients.any.clone(),
        namespace: args.namespace.clone(),
        hooks,
        wake: Wake {
            client: clients.any.clone(),
            leader: leader.clone(),
            pipelines: store.clone(),
            queue: queue.clone(),
        },
        rate: Rate { requests: args.promotion_hook_rate_limit, interval: args.promotion_hook_rate_limit_interval },
        legacy: Legacy { codes: args.legacy_status_codes, approval: args.allow_legacy_approval },
        seen: Arc::default(),
        metrics: Arc::clone(&metrics),
    };
    let remote = (args.remote_interval, !args.no_cross_namespace_refs);
    let clusters = Clusters::new(clients.any.clone(), strategies.egress.clone(), remote.0, remote.1);
    let context = Arc::new(Context {
        claims,
        applications: Applications::new(clients.any.clone(), clusters, queue, args.namespace.is_some()),
        events: Recorder::new(clients.acting.clone(), reporter),
        notifications,
        policy: Policy::new(args),
        looks,
        strategies,
        leader,
        client: clients.acting,
        metrics,
        traces,
    });
    context.metrics.ask(&context);
    let listed = CancellationToken::new();
    let everyone = everyone.watch(all_pipelines(&clients.any, args), listed.clone()).boxed();
    let (own, others) = match args.election.selector() {
        None => (everyone, futures::stream::pending().boxed()),
        // It is the API server that knows what a selector selects.
        Some(selector) => (watch(pipelines, watcher::Config::default().labels(selector)).boxed(), everyone),
    };
    let shard = args.election.shard;
    let changed = own
        .try_filter(move |event| std::future::ready(concerns(shard, event)))
        .reflect(writer)
        .inspect_ok(forget_deleted(Arc::clone(&context)))
        .applied_objects()
        // Not for the status, which the controller itself writes.
        .predicate_filter(predicates::generation.combine(predicates::annotations), Default::default())
        .boxed();
    let lead = async {
        let ready = async {
            let ready = store.wait_until_ready().await;
            listed.cancelled().await;
            tracing::info!(pipelines = store.len(), "ready");
            readiness.set(true);
            ready.context("the watch of Pipelines ended")
        };
        lead(changed, ready, election, &store, woken, context, args, stop).await
    };
    let served = async {
        endpoints::serve(listener, endpoints, stop.clone()).await;
        Ok(())
    };
    tokio::select! {
        ended = async { futures::try_join!(lead, served) } => ended.map(drop),
        () = others.for_each(|_seen| std::future::ready(())) => Err(anyhow!("the watch of all Pipelines ended")),
    }
}

/// Keeps the Pipelines in memory until this process is elected, and then acts until told to stop.
#[expect(clippy::too_many_arguments, reason = "what one process is made of")]
async fn lead(
    mut changed: BoxStream<'static, Result<PipelineMeta, watcher::Error>>,
    ready: impl Future<Output = anyhow::Result<()>>,
    mut election: Option<Election>,
    store: &Store<PipelineMeta>,
    woken: mpsc::Receiver<ObjectRef<PipelineMeta>>,
    context: Arc<Context>,
    args: &Args,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let elected = async {
        ready.await?;
        match &mut election {
            Some(election) => election.win().await,
            None => Ok(()),
        }
    };
    tokio::select! {
        elected = elected => elected?,
        () = async { while changed.next().await.is_some() {} } => bail!("the watch of Pipelines ended"),
        () = stop.cancelled() => {
            // Maybe in the moment in which it was elected.
            if let Some(election) = election {
                election.release().await;
            }
            return Ok(());
        }
    }
    context.metrics.set_leader(&lease(args), true);
    let all: Vec<_> = store.state().iter().map(|pipeline| ObjectRef::from_obj(pipeline.as_ref())).collect();
    let (by_change, by_others) = (Arc::clone(&context), Arc::clone(&context));
    let changed = changed.inspect_ok(move |pipeline| queued(&by_change, &ObjectRef::from_obj(pipeline)));
    let woken = futures::stream::iter(all).chain(receive(woken)).inspect(move |pipeline| queued(&by_others, pipeline));
    let reconciles = Controller::for_stream(changed, store.clone())
        .reconcile_on(woken)
        .with_config(controller::Config::default().concurrency(args.concurrent).debounce(Duration::from_millis(50)))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, on_error, context)
        .for_each(|_told_by_the_error_policy| std::future::ready(()));
    let Some(mut election) = election else {
        reconciles.await;
        return Ok(());
    };
    tokio::select! {
        () = reconciles => election.release().await,
        lost = election.keep() => return Err(lost),
    }
    Ok(())
}

fn election(client: &Client, leader: Leader, args: &Args) -> anyhow::Result<Option<Election>> {
    if !args.election.leader_elect {
        return Ok(None);
    }
    let terms = args.election.terms().map_err(|wrong| anyhow!(wrong))?;
    let namespace = election::namespace(args.election.leader_election_namespace.as_deref())?;
    let name = args.election.lease_name(args.namespace.as_deref());
    Ok(Some(Election::new(client.clone(), namespace, name, terms, leader)))
}

/// By which this process leads; without an election, in name only.
fn lease(args: &Args) -> String {
    if args.election.leader_elect { args.election.lease_name(args.namespace.as_deref()) } else { MANAGER.to_owned() }
}

fn all_pipelines(client: &Client, args: &Args) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<Pipeline>(&());
    match &args.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Whether what happened did so to a Pipeline of this process, or to the watch itself.
fn concerns(shard: Option<Shard>, event: &watcher::Event<PipelineMeta>) -> bool {
    let Some(shard) = shard else { return true };
    match event {
        watcher::Event::Init | watcher::Event::InitDone => true,
        watcher::Event::InitApply(pipeline) | watcher::Event::Apply(pipeline) | watcher::Event::Delete(pipeline) => {
            shard.contains(&pipeline.namespace().unwrap_or_default(), &pipeline.name_any())
        }
    }
}

/// What is gone is not reconciled: it is forgotten when its deletion is seen.
fn forget_deleted(context: Arc<Context>) -> impl Fn(&watcher::Event<PipelineMeta>) {
    move |event| {
        if let watcher::Event::Delete(pipeline) = event {
            context.forget(&pipeline.namespace().unwrap_or_default(), &pipeline.name_any());
        }
    }
}

fn queued(context: &Context, pipeline: &ObjectRef<PipelineMeta>) {
    context.metrics.queued(pipeline.namespace.as_deref().unwrap_or_default(), &pipeline.name);
}

fn receive(
    mut woken: mpsc::Receiver<ObjectRef<PipelineMeta>>,
) -> impl Stream<Item = ObjectRef<PipelineMeta>> + Send + 'static {
    futures::stream::poll_fn(move |cx| woken.poll_recv(cx))
}

/// How pull requests are made.
fn options(args: &Args, metrics: &Arc<Metrics>) -> promote_pr::Options {
    let mut options = args.git.options();
    options.edit = args.edit.limits();
    options.trace = args.telemetry.otlp_endpoint.is_some();
    options.observer = Some(Arc::<Metrics>::clone(metrics));
    options.git.file = options.edit.file_bytes.try_into().unwrap_or(u64::MAX);
    options
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: running promotions are brought to an end");
        token.cancel();
    });
    Ok(stop)
}
