//! What has to be there before anything can start.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use egress::{Egress, Guard};
use http::Uri;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::causes::explain;
use crate::leader::Leader;
use crate::observe::followers::PipelineMeta;
use crate::strategies::{Network, extra_ca};

/// Between two tries to reach the API server, or to find the Pipelines' definition.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long rights that are missing are waited for: they may be granted in the moment in which the process starts.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be said of the flags without asking anybody.
///
/// # Errors
/// A file cannot be used; the text names the flag.
pub(crate) fn check(args: &Args) -> anyhow::Result<()> {
    let network = Network { ca_file: args.ca_file.clone(), ..Network::default() };
    let policy = egress::Policy { extra_ca: extra_ca(&network)?, ..egress::Policy::default() };
    Egress::new(policy).context("--ca-file")?;
    args.election.terms().map_err(|wrong| anyhow!(wrong))?;
    Ok(())
}

/// How to reach the API server.
///
/// # Errors
/// There is no kubeconfig, or it cannot be used.
pub(crate) async fn config(args: &Args) -> anyhow::Result<Config> {
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
    Ok(config)
}

/// The API of Pipelines, once the API server serves it; `None` when told to stop before.
///
/// # Errors
/// The API server will not list them: without rights, or because of the selector.
pub(crate) async fn pipelines(
    client: &Client,
    args: &Args,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Api<PipelineMeta>>> {
    let api: Api<PipelineMeta> = match &args.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let first =
        ListParams { label_selector: args.election.selector().map(str::to_owned), ..ListParams::default().limit(1) };
    let served = async {
        let mut told = String::new();
        let mut refused: Option<std::time::Instant> = None;
        while let Err(error) = api.list_metadata(&first).await {
            let why = match &error {
                kube::Error::Api(status) if status.code == 404 => {
                    "the API server does not know pipelines.pipelines.weave.works: install the custom resource definition"
                        .to_owned()
                }
                kube::Error::Api(status) if status.code == 400 => {
                    return Err(anyhow!("--watch-label-selector {}: {}", args.election.selector().unwrap_or_default(), status.message));
                }
                kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                    let since = *refused.get_or_insert_with(std::time::Instant::now);
                    let place = args.namespace.as_ref().map_or_else(
                        || "in all namespaces, or set --namespace".to_owned(),
                        |namespace| format!("in the namespace {namespace}"),
                    );
                    let why = format!(
                        "Pipelines may not be listed: grant list and watch of pipelines.pipelines.weave.works {place} ({})",
                        status.message
                    );
                    if since.elapsed() >= PATIENCE {
                        return Err(anyhow!(why));
                    }
                    why
                }
                error => format!("cannot list Pipelines: {}", explain(error)),
            };
            if why != told {
                tracing::warn!("waiting: {why}");
                told = why;
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(Some(api))
    };
    tokio::select! {
        served = served => served,
        () = stop.cancelled() => Ok(None),
    }
}

/// What may be called, while `leader` may act.
pub(crate) async fn network(args: &Args, client: &Client, api_server: &Uri, leader: &Leader) -> Network {
    Network {
        ca_file: args.ca_file.clone(),
        allow_http: args.insecure_allow_http,
        guard: Guard {
            allow: args.egress_allow.clone(),
            deny: args.egress_deny.clone(),
            api_server: addresses(client, api_server).await,
        },
        gate: Some(leader.gate()),
        observer: None,
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
