//! A real Kubernetes API server on a real etcd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use k8s_openapi::{
    api::authentication::v1::{TokenRequest, TokenRequestSpec},
    api::core::v1::{Namespace, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
    discovery::{self, ApiResource, Scope},
    runtime::wait::{await_condition, conditions},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::{
    ca::Ca,
    https::lock,
    ports,
    process::{Process, output},
    tools::Tools,
};

/// How long a server may take until it can be used, on a machine that is busy with other things.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a kind that was just defined may take to be served.
const ESTABLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// The field manager of [`ControlPlane::apply`].
const FIELD_MANAGER: &str = "testbed";
/// The token of a member of `system:masters`.
const ADMIN_TOKEN: &str = "testbed-admin";

/// An API server with RBAC, and how to reach it as a member of `system:masters`.
///
/// There are no other controllers: nothing runs pods, collects garbage or empties a namespace that is deleted.
#[derive(Debug, Deserialize, Serialize)]
pub struct ControlPlane {
    /// The server's address.
    pub url: Url,
    /// A kubeconfig that holds the authority's certificate and an administrator's token, and names no other file.
    pub kubeconfig: PathBuf,
    /// The real command line client.
    pub kubectl: PathBuf,
    #[serde(skip)]
    process: Mutex<Option<(Process, Command)>>,
}

/// The store of the bed's API servers.
#[derive(Debug)]
pub(crate) struct Etcd {
    process: Mutex<Process>,
    url: String,
}

impl Etcd {
    /// Starts etcd with its data under `folder`.
    pub(crate) async fn start(tools: &Tools, ca: &Ca, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let http = ca.http_client()?;
        ports::retry_in_use(async || {
            let url = format!("https://127.0.0.1:{}", ports::free()?);
            let peers = format!("http://127.0.0.1:{}", ports::free()?);
            let mut command = Command::new(&tools.etcd);
            command
                .args(["--name=testbed", "--unsafe-no-fsync", "--log-level=warn"])
                .arg(flag("--data-dir", folder.join("data")))
                .args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")])
                .args([format!("--listen-peer-urls={peers}"), format!("--initial-advertise-peer-urls={peers}")])
                .arg(format!("--initial-cluster=testbed={peers}"))
                // TLS, so that nobody mistakes another bed's etcd, which took the port first, for this one.
                .arg(flag("--cert-file", ca.server_certificate_path()))
                .arg(flag("--key-file", ca.server_key_path()));
            let mut process = Process::start(&command, &fresh_log(folder, "etcd.log")?)?;
            let health = format!("{url}/readyz");
            process.ready(START_TIMEOUT, async || answers(http.get(&health)).await).await?;
            Ok(Self { process: Mutex::new(process), url })
        })
        .await
    }

    pub(crate) fn pid(&self) -> u32 {
        lock(&self.process).pid()
    }

    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        lock(&self.process).signal(signal)
    }

    /// Forgets all but the newest state of each object: who asks for changes since an older one is told that
    /// [they are gone](https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses).
    pub(crate) async fn compact(&self, ca: &Ca) -> Result<()> {
        let http = ca.http_client()?;
        // The gateway of https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/; the key is one zero byte.
        let call = async |path: &str, body: serde_json::Value| {
            let answer = http.post(format!("{}/v3/kv/{path}", self.url)).json(&body).send().await?;
            anyhow::Ok(answer.error_for_status()?.json::<serde_json::Value>().await?)
        };
        let range = call("range", json!({"key": "AA=="})).await?;
        let revision = range.pointer("/header/revision").context("etcd tells no revision")?;
        call("compaction", json!({"revision": revision, "physical": true})).await?;
        Ok(())
    }
}

impl ControlPlane {
    /// Starts an API server whose objects are those under `prefix` in `etcd`.
    pub(crate) async fn start(tools: &Tools, ca: &Ca, etcd: &Etcd, prefix: &str, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let tokens = folder.join("tokens.csv");
        fs::write(&tokens, format!("{ADMIN_TOKEN},admin,admin,system:masters\n"))?;
        let http = ca.http_client()?;
        let (url, process) = ports::retry_in_use(async || {
            let port = ports::free()?;
            let url: Url = format!("https://127.0.0.1:{port}").parse()?;
            let mut command = Command::new(&tools.kube_apiserver);
            command
                .args([
                    "--bind-address=127.0.0.1",
                    "--authorization-mode=RBAC",
                    "--service-cluster-ip-range=10.0.0.0/24",
                ])
                .args(["--service-account-issuer=https://testbed", "--disable-admission-plugins=ServiceAccount"])
                // There are no nodes for the service `kubernetes` to be reached from.
                .args(["--endpoint-reconciler-type=none", "--enable-priority-and-fairness=false"])
                .args([format!("--secure-port={port}"), format!("--etcd-servers={}", etcd.url)])
                .arg(format!("--etcd-prefix={prefix}"))
                .arg(flag("--etcd-cafile", ca.certificate_path()))
                .arg(flag("--tls-cert-file", ca.server_certificate_path()))
                .arg(flag("--tls-private-key-file", ca.server_key_path()))
                .arg(flag("--service-account-key-file", ca.server_certificate_path()))
                .arg(flag("--service-account-signing-key-file", ca.server_key_path()))
                .arg(flag("--token-auth-file", &tokens));
            let mut process = Process::start(&command, &fresh_log(folder, "kube-apiserver.log")?)?;
            let ready = [url.join("/readyz")?, url.join("/api/v1/namespaces/default")?];
            process
                .ready(START_TIMEOUT, async || {
                    for url in &ready {
                        if !answers(http.get(url.clone()).bearer_auth(ADMIN_TOKEN)).await {
                            return false;
                        }
                    }
                    true
                })
                .await?;
            Ok((url, (process, command)))
        })
        .await?;

        let kubeconfig = folder.join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_yaml(&url, ca)?)?;
        Ok(Self { url, kubeconfig, kubectl: tools.kubectl.clone(), process: Mutex::new(Some(process)) })
    }

    /// A client with an administrator's rights: a new one each time, for it works only on the runtime that made it.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.proxy_url = None;
        Ok(Client::try_from(config)?)
    }

    /// A kubeconfig at `path` for a service account that is there, with a token for ten hours: what the account may do
    /// is what RBAC says.
    pub async fn service_account(&self, namespace: &str, name: &str, path: &Path) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(36_000), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = answer.status.context("no token came")?.token;
        let mut kubeconfig: serde_json::Value = serde_json::from_slice(&fs::read(&self.kubeconfig)?)?;
        *kubeconfig.pointer_mut("/users/0/user/token").context("the kubeconfig holds no token")? = token.into();
        fs::write(path, kubeconfig.to_string()).with_context(|| format!("writing {}", path.display()))
    }

    /// Starts the API server anew, at the same address, after it was ended as `signal` ends it: `TERM` or `KILL`.
    ///
    /// # Errors
    /// Another process started it, or it does not come up again.
    pub async fn restart(&self, signal: &str) -> Result<()> {
        let (mut process, command) = lock(&self.process).take().context("another process started this API server")?;
        process.signal(signal)?;
        process.wait(START_TIMEOUT).await?;
        let log = self.kubeconfig.with_file_name("kube-apiserver.log");
        let mut process = Process::start(&command, &log)?;
        let client = self.client().await?;
        let namespaces: Api<Namespace> = Api::all(client);
        process.ready(START_TIMEOUT, async || namespaces.get("default").await.is_ok()).await?;
        *lock(&self.process) = Some((process, command));
        Ok(())
    }

    /// Creates a namespace whose name begins with `prefix` and answers its name, which nobody else has.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let namespace = Namespace {
            metadata: ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let created = Api::all(self.client().await?).create(&PostParams::default(), &namespace).await?;
        Ok(created.name_any())
    }

    /// Applies the documents of `yaml` one after the other, each by server-side apply with force, of any kind, and waits
    /// for what a CustomResourceDefinition defines to be served. A namespaced object that names no namespace goes to
    /// `default`. Status is another resource to the API server: it is not written.
    ///
    /// # Errors
    /// What the API server answers, with the kind and name of the object.
    pub async fn apply(&self, yaml: &str) -> Result<Vec<DynamicObject>> {
        let client = self.client().await?;
        let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(yaml).context("reading YAML")?;
        let mut applied = Vec::new();
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            let object: DynamicObject = serde_json::from_value(document).context("reading an object")?;
            let types = object.types.clone().context("an object names no apiVersion and kind")?;
            let name = format!("{} {}", types.kind, object.name_any());
            let kind = GroupVersionKind::try_from(&types).with_context(|| format!("the apiVersion of {name}"))?;
            let api = self.api(&client, &kind, object.metadata.namespace.as_deref()).await?;
            let object = api
                .patch(&object.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&object))
                .await
                .with_context(|| format!("applying {name}"))?;
            if types.kind == "CustomResourceDefinition" {
                let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
                let name = object.name_any();
                tokio::time::timeout(ESTABLISH_TIMEOUT, await_condition(crds, &name, conditions::is_crd_established()))
                    .await
                    .with_context(|| format!("{name} is not established after {ESTABLISH_TIMEOUT:?}"))??;
            }
            applied.push(object);
        }
        Ok(applied)
    }

    /// Runs the real `kubectl` with an administrator's rights and answers its standard output.
    ///
    /// # Errors
    /// When its exit code is not 0: the error holds its standard error.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.kubectl);
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.kubeconfig.with_file_name("kubectl-cache"));
        Ok(String::from_utf8(output(command).await?)?)
    }

    /// The API of a kind, looked up on the server: the kind may just have been defined.
    pub(crate) async fn api(
        &self,
        client: &Client,
        kind: &GroupVersionKind,
        namespace: Option<&str>,
    ) -> Result<Api<DynamicObject>> {
        let start = Instant::now();
        let (resource, capabilities): (ApiResource, _) = loop {
            match discovery::pinned_kind(client, kind).await {
                Ok(found) => break found,
                Err(error) if start.elapsed() > ESTABLISH_TIMEOUT => {
                    return Err(error).with_context(|| format!("{kind:?} is not served by {}", self.url));
                }
                Err(kube::Error::Discovery(_) | kube::Error::Api(_)) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error).with_context(|| format!("looking up {kind:?} on {}", self.url)),
            }
        };
        Ok(match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(client.clone(), namespace.unwrap_or("default"), &resource),
        })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        lock(&self.process).as_ref().map(|(process, _)| process.pid())
    }
}

fn kubeconfig_yaml(url: &Url, ca: &Ca) -> Result<String> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    // JSON is YAML, and every reader of kubeconfigs takes it.
    Ok(serde_json::to_string_pretty(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "clusters": [{"name": "testbed", "cluster": {
            "server": url.as_str().trim_end_matches('/'),
            "certificate-authority-data": BASE64_STANDARD.encode(ca.pem()),
        }}],
        "users": [{"name": "admin", "user": {"token": ADMIN_TOKEN}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "admin"}}],
    }))?)
}

fn flag(name: &str, path: impl AsRef<Path>) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(format!("{name}="));
    flag.push(path.as_ref());
    flag
}

/// An empty log file: an earlier try's message must not be taken for this one's.
pub(crate) fn fresh_log(folder: &Path, name: &str) -> Result<PathBuf> {
    let log = folder.join(name);
    fs::write(&log, "").with_context(|| format!("writing {}", log.display()))?;
    Ok(log)
}

pub(crate) async fn answers(request: reqwest::RequestBuilder) -> bool {
    let answer = request.timeout(Duration::from_secs(5)).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
