//! Starts the parts, and stops them.

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use egress::Guard;
use futures::{Stream, StreamExt, TryStreamExt};
use http::Uri;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{self, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Predicate, WatchStreamExt, predicates, reflector, watcher};
use kube::{Api, Client, Config, ResourceExt};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::causes::explain;
use crate::claims::Claims;
use crate::context::{Context, Looks};
use crate::endpoints::{self, Endpoints, Legacy, Rate};
use crate::health::{self, Readiness};
use crate::hooks::Hooks;
use crate::notifications::Notifications;
use crate::observe::applications::Applications;
use crate::observe::clusters::Clusters;
use crate::observe::followers::PipelineMeta;
use crate::policy::Policy;
use crate::reconcile::{on_error, reconcile};
use crate::record::MANAGER;
use crate::strategies::notification::EventsReceiver;
use crate::strategies::{Network, Strategies};
use crate::telemetry;

/// Between two tries to reach the API server, or to find the Pipelines' definition, at the start.
const START_INTERVAL: Duration = Duration::from_secs(2);

/// Wake-ups that may wait for the controller's loop.
const WAKE_QUEUE: usize = 1024;

/// For the events that wait to be sent when the controller stops.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the controller until it is told to stop by SIGTERM or SIGINT.
pub fn run(args: Args) -> ExitCode {
    telemetry::start(args.log_level, args.log_encoding);
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let (client, api_server) = client(&args).await?;
    let readiness = Readiness::default();
    // The probes are answered until the last running reconcile has ended.
    let ended = CancellationToken::new();
    let health =
        tokio::spawn(health::serve(args.health_probe_bind_address, readiness.clone(), ended.clone().cancelled_owned()));
    let _ended = ended.drop_guard();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = args.namespace, "starting");

    let hooks = TcpListener::bind(args.promotion_hook_bind_address)
        .await
        .with_context(|| format!("--promotion-hook-bind-address {}", args.promotion_hook_bind_address))?;

    let controller = async {
        let Some(pipelines) = pipelines(&client, &args, &stop).await else {
            return Ok(());
        };
        let network = network(&args, &client, &api_server).await;
        let events = args.events_addr.clone().and_then(|address| address.0);
        let events =
            events.map(|address| EventsReceiver::open(address, &network)).transpose().context("--events-addr")?;
        let strategies = Strategies::open(options(&args), &network, events.clone())?;
        let (notifications, sending) = match events {
            Some(receiver) => {
                let (notifications, send) = Notifications::open(receiver);
                (notifications, Some(tokio::spawn(send)))
            }
            None => (Notifications::default(), None),
        };
        let outbound = Outbound { strategies, notifications };
        control(pipelines, client, outbound, hooks, &args, readiness, &stop).await;
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
    }
    tracing::info!("stopped");
    Ok(())
}

/// By what the controller speaks to others.
struct Outbound {
    strategies: Strategies,
    notifications: Notifications,
}

/// Reconciles until stopped, and lets running reconciles end.
async fn control(
    pipelines: Api<PipelineMeta>,
    client: Client,
    Outbound { strategies, notifications }: Outbound,
    listener: TcpListener,
    args: &Args,
    readiness: Readiness,
    stop: &CancellationToken,
) {
    let (store, writer) = reflector::store();
    let (wake, woken) = mpsc::channel(WAKE_QUEUE);
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
    let looks = Looks::default();
    let hooks = Arc::new(Hooks::new(looks.clone()));
    let endpoints = Endpoints {
        client: client.clone(),
        namespace: args.namespace.clone(),
        hooks: Arc::clone(&hooks),
        wake: wake.clone(),
        rate: Rate { requests: args.promotion_hook_rate_limit, interval: args.promotion_hook_rate_limit_interval },
        legacy: Legacy { codes: args.legacy_status_codes, approval: args.allow_legacy_approval },
        seen: Arc::default(),
    };
    let clusters =
        Clusters::new(client.clone(), strategies.egress.clone(), args.remote_interval, !args.no_cross_namespace_refs);
    let context = Arc::new(Context {
        claims: Claims::new(wake.clone()),
        applications: Applications::new(client.clone(), clusters, wake, args.namespace.is_some()),
        events: Recorder::new(client.clone(), reporter),
        notifications,
        policy: Policy::new(args),
        hooks,
        looks,
        strategies,
        client,
    });
    let changed = watcher(pipelines, watcher::Config::default())
        .default_backoff()
        .inspect_err(|error| tracing::debug!("the watch of Pipelines begins anew: {}", explain(error)))
        .reflect(writer)
        .inspect_ok(forget_deleted(Arc::clone(&context)))
        .applied_objects()
        // Not for the status, which the controller itself writes.
        .predicate_filter(predicates::generation.combine(predicates::annotations), Default::default());
    let ready = store.clone();
    let announce = async move {
        if ready.wait_until_ready().await.is_ok() {
            tracing::info!(pipelines = ready.len(), "ready");
            readiness.set(true);
        }
    };
    let reconciles = Controller::for_stream(changed, store)
        .reconcile_on(receive(woken))
        .with_config(controller::Config::default().concurrency(args.concurrent).debounce(Duration::from_millis(50)))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, on_error, context)
        .for_each(|_told_by_the_error_policy| std::future::ready(()));
    let announce = async {
        tokio::select! {
            () = announce => {}
            () = stop.cancelled() => {}
        }
    };
    futures::join!(reconciles, announce, endpoints::serve(listener, endpoints, stop.clone()));
}

/// What is gone is not reconciled: it is forgotten when its deletion is seen.
fn forget_deleted(context: Arc<Context>) -> impl Fn(&watcher::Event<PipelineMeta>) {
    move |event| {
        if let watcher::Event::Delete(pipeline) = event {
            context.forget(&pipeline.namespace().unwrap_or_default(), &pipeline.name_any());
        }
    }
}

fn receive(
    mut woken: mpsc::Receiver<ObjectRef<PipelineMeta>>,
) -> impl Stream<Item = ObjectRef<PipelineMeta>> + Send + 'static {
    futures::stream::poll_fn(move |cx| woken.poll_recv(cx))
}

/// The API of Pipelines, once the API server serves it; `None` when told to stop before.
async fn pipelines(client: &Client, args: &Args, stop: &CancellationToken) -> Option<Api<PipelineMeta>> {
    let api: Api<PipelineMeta> = match &args.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let served = async {
        let mut told = String::new();
        while let Err(error) = api.list_metadata(&ListParams::default().limit(1)).await {
            let why = match &error {
                kube::Error::Api(status) if status.code == 404 => {
                    "the API server does not know pipelines.pipelines.weave.works: install the custom resource definition"
                        .to_owned()
                }
                error => format!("cannot list Pipelines: {error}"),
            };
            if why != told {
                tracing::warn!("waiting: {why}");
                told = why;
            }
            tokio::time::sleep(START_INTERVAL).await;
        }
    };
    tokio::select! {
        () = served => Some(api),
        () = stop.cancelled() => None,
    }
}

/// A client for the API server, and its URL.
async fn client(args: &Args) -> anyhow::Result<(Client, Uri)> {
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("--kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("--kubeconfig {}", path.display()))?
        }
        None => Config::infer().await.context("found no way to the API server: set --kubeconfig")?,
    };
    config.connect_timeout = Some(Duration::from_secs(10));
    let url = config.cluster_url.clone();
    Ok((Client::try_from(config).context("cannot make a client for the API server")?, url))
}

async fn network(args: &Args, client: &Client, api_server: &Uri) -> Network {
    Network {
        ca_file: args.ca_file.clone(),
        allow_http: args.insecure_allow_http,
        guard: Guard {
            allow: args.egress_allow.clone(),
            deny: args.egress_deny.clone(),
            api_server: addresses(client, api_server).await,
        },
    }
}

/// Where the API server can be reached: at the URL that this process uses, and at its own addresses behind the Service.
async fn addresses(client: &Client, url: &Uri) -> Vec<IpAddr> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let found = tokio::net::lookup_host((host, 0)).await.map(|found| found.map(|address| address.ip()).collect());
    let mut addresses: Vec<IpAddr> = found.unwrap_or_else(|error| {
        tracing::warn!(%error, host, "cannot look up the API server: its address is not guarded against calls");
        Vec::new()
    });
    // https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/; the API server keeps one for itself.
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    match slices.get_opt("kubernetes").await {
        Ok(slice) => {
            let endpoints = slice.into_iter().flat_map(|slice| slice.endpoints);
            let texts = endpoints.flat_map(|endpoint| endpoint.addresses);
            addresses.extend(texts.filter_map(|text| text.parse::<IpAddr>().ok()));
        }
        Err(error) => tracing::warn!(
            %error,
            "cannot read EndpointSlice default/kubernetes: of the API server's addresses, only that of its URL is guarded"
        ),
    }
    addresses
}

/// How pull requests are made.
fn options(args: &Args) -> promote_pr::Options {
    let mut options = args.git.options();
    options.edit = args.edit.limits();
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
