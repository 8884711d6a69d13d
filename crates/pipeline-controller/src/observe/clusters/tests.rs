use std::convert::Infallible;
use std::time::Instant;

use egress::{Guard, Policy};
use http::{Request, Response};
use kube::api::{Patch, PatchParams};
use kube::client::{Body, ClientBuilder};
use pipeline_api::Pipeline;
use serde_json::json;
use testbed::tcp_proxy::{Cut, Then};
use testbed::{TcpProxy, Testbed, shared};
use tokio::sync::mpsc;
use tower::util::MapResponseLayer;

use super::connection::{MAX_ANSWER, cap};
use super::*;
use crate::observe::applications::Applications;
use crate::observe::followers::Follower;
use crate::observed::Application;

/// Longest time that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A GitopsCluster `remote` in a namespace of its own, for the bed's second cluster, on which podinfo is at 6.1.0.
struct World {
    bed: &'static Testbed,
    applications: Applications,
    woken: mpsc::Receiver<Follower>,
    /// Of the GitopsCluster and its Secret.
    namespace: String,
    /// Of podinfo, on the remote cluster.
    apps: String,
}

/// The bed is on loopback, which nobody reaches without being allowed to.
fn loopback() -> Egress {
    let guard = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], ..Guard::default() };
    Egress::new(Policy { guard, ..Policy::default() }).unwrap()
}

async fn applications(bed: &Testbed, egress: Egress) -> (Applications, mpsc::Receiver<Follower>) {
    let client = bed.control_plane.client().await.unwrap();
    let clusters = Clusters::new(client.clone(), egress, Duration::from_secs(1), true);
    let (wake, woken) = mpsc::channel(64);
    (Applications::new(client, clusters, wake, false), woken)
}

impl World {
    async fn new() -> Self {
        let bed = shared().await.unwrap();
        let (applications, woken) = applications(bed, loopback()).await;
        let world = Self {
            bed,
            applications,
            woken,
            namespace: bed.control_plane.namespace("clusters").await.unwrap(),
            apps: bed.remote.namespace("apps").await.unwrap(),
        };
        let release = format!(
            "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: podinfo, namespace: {}}}\nspec: {{}}",
            world.apps
        );
        bed.remote.apply(&release).await.unwrap();
        bed.remote.set_helm_release_ready(&world.apps, "podinfo", "6.1.0").await.unwrap();
        world
    }

    /// With the cluster and a Secret that opens it.
    async fn connected() -> Self {
        let world = Self::new().await;
        world.cluster(json!({"secretRef": {"name": "kubeconfig"}})).await;
        world.secret("kubeconfig", json!({"value": world.kubeconfig()})).await;
        world
    }

    async fn apply(&self, object: Value) {
        self.bed.control_plane.apply(&object.to_string()).await.unwrap();
    }

    async fn cluster(&self, spec: Value) {
        self.apply(json!({
            "apiVersion": "gitops.weave.works/v1alpha1", "kind": "GitopsCluster",
            "metadata": {"name": "remote", "namespace": self.namespace}, "spec": spec,
        }))
        .await;
    }

    async fn secret(&self, name: &str, data: Value) {
        self.apply(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": self.namespace},
            "stringData": data,
        }))
        .await;
    }

    fn kubeconfig(&self) -> String {
        std::fs::read_to_string(&self.bed.remote.kubeconfig).unwrap()
    }

    /// The bed's kubeconfig, with another server.
    fn elsewhere(&self, server: &str) -> String {
        let mut kubeconfig: Value = serde_json::from_str(&self.kubeconfig()).unwrap();
        kubeconfig["clusters"][0]["cluster"]["server"] = json!(server);
        kubeconfig.to_string()
    }

    /// A Pipeline with one target: `app` on the cluster that `cluster_ref` names, besides its kind and name.
    fn pipeline(&self, name: &str, app: &str, cluster_ref: &Value) -> Pipeline {
        let mut cluster = json!({"kind": "GitopsCluster", "name": "remote"});
        cluster.as_object_mut().unwrap().extend(cluster_ref.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2beta1", "kind": "HelmRelease", "name": app},
                "environments": [{"name": "dev", "targets": [{"namespace": self.apps, "clusterRef": cluster}]}],
            },
        }))
        .unwrap()
    }

    async fn read(&self, pipeline: &Pipeline) -> Result<Application, Unreadable> {
        self.applications.follow(pipeline);
        self.applications.read(pipeline, &pipeline.spec.environments[0].targets[0]).await
    }

    /// Reads until the answer is as expected: the revision of a ready application, or a condition's reason and message.
    async fn until(&self, pipeline: &Pipeline, expected: impl Fn(&Result<Application, Unreadable>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let read = self.read(pipeline).await;
            if expected(&read) {
                return;
            }
            assert!(Instant::now() < deadline, "{read:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn until_ready(&self) {
        self.until(&self.podinfo(), |read| read.as_ref().is_ok_and(|application| application.ready)).await;
    }

    /// Until the target has a reason, and a message with these words.
    async fn until_unreadable(&self, pipeline: &Pipeline, reason: Reason, words: &str) {
        let is_told = |read: &Result<Application, Unreadable>| {
            let told = |why: &Unreadable| {
                let message = why.message.replace(&self.namespace, "NS");
                let told = message.split(" (since 2").next().unwrap_or(&message);
                why.reason == reason && told.ends_with(words)
            };
            read.as_ref().is_err_and(told)
        };
        self.until(pipeline, is_told).await;
    }

    fn podinfo(&self) -> Pipeline {
        self.pipeline("podinfo", "podinfo", &json!({}))
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn reads_through_either_kind_of_secret() {
    let mut world = World::new().await;
    world.cluster(json!({"secretRef": {"name": "kubeconfig"}})).await;
    for key in ["kubeconfig", "value.yaml", "value"] {
        world.secret("kubeconfig", json!({key: world.kubeconfig()})).await;
        (world.applications, world.woken) = applications(world.bed, loopback()).await;
        let application = world.read(&world.podinfo()).await.unwrap();
        assert_eq!((application.ready, application.revision.as_deref()), (true, Some("6.1.0")), "{key}");
    }

    let mut elsewhere = world.pipeline(
        "elsewhere",
        "podinfo",
        &json!({"namespace": world.namespace, "apiVersion": "gitops.weave.works/v1beta1"}),
    );
    elsewhere.metadata.namespace = Some("default".to_owned());
    assert!(world.read(&elsewhere).await.unwrap().ready);

    let capi = World::new().await;
    capi.cluster(json!({"capiClusterRef": {"name": "prod"}})).await;
    capi.secret("prod-kubeconfig", json!({"value": capi.kubeconfig()})).await;
    assert!(capi.read(&capi.podinfo()).await.unwrap().ready);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_server_at_a_guarded_address_is_not_called() {
    let mut world = World::connected().await;
    (world.applications, world.woken) = applications(world.bed, Egress::new(Policy::default()).unwrap()).await;
    let Unreadable { reason, message } = world.read(&world.podinfo()).await.unwrap_err();
    assert_eq!(reason, Reason::TargetClusterNotReady);
    assert!(message.contains("127.0.0.1 is a loopback address; only the operator can allow it"), "{message}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn each_cluster_has_a_rate_limit_of_its_own() {
    let bed = shared().await.unwrap();
    let kubeconfig = Kubeconfig::read_from(&bed.remote.kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let [busy, quiet] = [(), ()].map(|()| connection::client(&config, loopback()).unwrap());
    let started = Instant::now();
    let seconds = 2;
    let many = || {
        let requests = 0..=seconds * connection::REQUESTS_PER_SECOND;
        futures::future::join_all(requests.map(|_| async { drop(busy.apiserver_version().await.unwrap()) }))
    };
    tokio::select! {
        _ = many() => panic!("all that was asked of the busy cluster was answered before the other answered once"),
        version = quiet.apiserver_version() => drop(version.unwrap()),
    }
    many().await;
    assert!(started.elapsed() >= Duration::from_secs(seconds), "{:?}", started.elapsed());
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn says_what_is_missing() {
    let world = World::new().await;
    let podinfo = world.podinfo();
    world.until_unreadable(&podinfo, Reason::TargetClusterNotFound, "GitopsCluster NS/remote not found").await;
    world
        .until_unreadable(
            &world.pipeline("argo", "podinfo", &json!({"apiVersion": "argoproj.io/v1"})),
            Reason::TargetClusterNotFound,
            "clusterRef.apiVersion argoproj.io/v1 has no GitopsCluster: leave it out or name gitops.weave.works/v1alpha1",
        )
        .await;

    let not_ready = async |expected: &str| {
        let expected = format!("GitopsCluster NS/remote: {expected}");
        world.until_unreadable(&podinfo, Reason::TargetClusterNotReady, &expected).await;
    };
    world.cluster(json!({})).await;
    not_ready("names neither spec.secretRef.name nor spec.capiClusterRef.name").await;
    world.cluster(json!({"secretRef": {"name": "kubeconfig"}})).await;
    not_ready("Secret NS/kubeconfig does not exist").await;
    world.cluster(json!({"secretRef": {"name": "../../pods/x"}})).await;
    not_ready("\"NS/../../pods/x\" is not the namespace and name of a Secret").await;
    world.cluster(json!({"secretRef": {"name": "kubeconfig"}})).await;
    world.secret("kubeconfig", json!({"config": world.kubeconfig()})).await;
    not_ready(
        "Secret NS/kubeconfig has no credentials: it needs a kubeconfig under `value`, `value.yaml` or `kubeconfig`",
    )
    .await;
    world.secret("kubeconfig", json!({"value": world.elsewhere("http://127.0.0.1")})).await;
    not_ready("Secret NS/kubeconfig: key `value`: clusters[0].cluster.server: is not an https:// URL").await;

    world.secret("kubeconfig", json!({"value": world.kubeconfig()})).await;
    world.until_ready().await;
    let absent = world.pipeline("absent", "absent", &json!({}));
    let expected = format!("HelmRelease {}/absent not found", world.apps);
    world.until_unreadable(&absent, Reason::TargetNotReadable, &expected).await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn waits_for_a_cluster_that_is_not_ready() {
    let world = World::connected().await;
    let client = world.bed.control_plane.client().await.unwrap();
    let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", "GitopsCluster");
    let clusters: Api<DynamicObject> = Api::namespaced_with(client, &world.namespace, &ApiResource::from_gvk(&kind));
    let condition = async |status: &str| {
        let condition = json!({"type": "Ready", "status": status, "reason": "WaitingForSecret", "message": "soon"});
        let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        clusters.patch_status("remote", &PatchParams::default(), &patch).await.unwrap();
    };
    let podinfo = world.podinfo();
    for status in ["Unknown", "True"] {
        condition("False").await;
        let expected = "GitopsCluster NS/remote: not Ready: WaitingForSecret: soon";
        world.until_unreadable(&podinfo, Reason::TargetClusterNotReady, expected).await;
        condition(status).await;
        world.until_ready().await;
    }

    let finalizer = |finalizers: Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    clusters.patch("remote", &PatchParams::default(), &finalizer(json!(["example.com/wait"]))).await.unwrap();
    let _deleting = clusters.delete("remote", &Default::default()).await.unwrap();
    let expected = "GitopsCluster NS/remote: is being deleted";
    world.until_unreadable(&podinfo, Reason::TargetClusterNotReady, expected).await;
    clusters.patch("remote", &PatchParams::default(), &finalizer(Value::Null)).await.unwrap();
    let expected = "GitopsCluster NS/remote not found";
    world.until_unreadable(&podinfo, Reason::TargetClusterNotFound, expected).await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_rotated_secret_opens_the_cluster_again() {
    let world = World::connected().await;
    world.until_ready().await;
    let revoked = world.kubeconfig().replace("testbed-admin", "revoked");
    world.secret("kubeconfig", json!({"value": revoked})).await;
    let refused = "cannot discover group helm.toolkit.fluxcd.io: Unauthorized";
    world.until_unreadable(&world.podinfo(), Reason::TargetClusterNotReady, refused).await;
    world.secret("kubeconfig", json!({"value": world.kubeconfig()})).await;
    world.until_ready().await;

    // Another Secret.
    world.secret("other", json!({"value": revoked})).await;
    world.cluster(json!({"secretRef": {"name": "other"}})).await;
    world.until_unreadable(&world.podinfo(), Reason::TargetClusterNotReady, refused).await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn changes_on_another_cluster_wake() {
    let mut world = World::connected().await;
    world.until_ready().await;
    while world.woken.try_recv().is_ok() {}
    world.bed.remote.set_helm_release_ready(&world.apps, "podinfo", "6.2.0").await.unwrap();
    let woken = tokio::time::timeout(PATIENCE, world.woken.recv()).await.unwrap().unwrap();
    assert_eq!((woken.namespace.as_deref(), woken.name.as_str()), (Some(world.namespace.as_str()), "podinfo"));
    let is_new = |read: &Result<Application, Unreadable>| {
        read.as_ref().is_ok_and(|application| application.revision.as_deref() == Some("6.2.0"))
    };
    world.until(&world.podinfo(), is_new).await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn pipelines_share_what_they_follow_and_leave_nothing_behind() {
    let world = World::connected().await;
    world.until_ready().await;
    let second = world.pipeline("second", "podinfo", &json!({}));
    assert!(world.read(&second).await.unwrap().ready);
    assert_eq!((world.applications.caches(), world.applications.clusters().connected()), (1, 1));

    world.applications.unfollow(&world.namespace, "podinfo");
    assert_eq!((world.applications.caches(), world.applications.clusters().connected()), (1, 1));
    assert!(world.read(&second).await.unwrap().ready);

    world.applications.unfollow(&world.namespace, "second");
    assert_eq!(world.applications.caches(), 0);
    let deadline = Instant::now() + PATIENCE;
    while world.applications.clusters().connected() > 0 {
        assert!(Instant::now() < deadline, "the connection stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_cluster_that_is_gone_shows_and_comes_back() {
    let world = World::connected().await;
    let port = world.bed.remote.url.port().unwrap();
    let whole = || TcpProxy::start(port, Cut { down: usize::MAX, up: usize::MAX, then: Then::Close });
    let proxy = whole().await.unwrap();
    let through = format!("https://127.0.0.1:{}", proxy.port);
    world.secret("kubeconfig", json!({"value": world.elsewhere(&through)})).await;
    world.until_ready().await;

    proxy.cut();
    drop(proxy);
    world.until_unreadable(&world.podinfo(), Reason::TargetClusterNotReady, "Connection refused (os error 111)").await;

    let proxy = whole().await.unwrap();
    let through = format!("https://127.0.0.1:{}", proxy.port);
    world.secret("kubeconfig", json!({"value": world.elsewhere(&through)})).await;
    world.until_ready().await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_cluster_that_hangs_holds_nobody_once_it_is_known_to() {
    let world = World::connected().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    world.secret("kubeconfig", json!({"value": world.elsewhere(&address)})).await;
    let podinfo = world.podinfo();
    let Unreadable { reason, message } = world.read(&podinfo).await.unwrap_err();
    assert_eq!(reason, Reason::TargetClusterNotReady);
    assert!(message.ends_with("has not answered yet"), "{message}");
    let hanging = "deadline has elapsed";
    world.until_unreadable(&podinfo, Reason::TargetClusterNotReady, hanging).await;
    // From memory: it needs no timer to go on.
    let second = world.pipeline("second", "podinfo", &json!({}));
    world.applications.follow(&second);
    let target = &second.spec.environments[0].targets[0];
    let mut read = std::pin::pin!(world.applications.read(&second, target));
    assert!(matches!(futures::poll!(&mut read), std::task::Poll::Ready(Err(_))));

    world.secret("kubeconfig", json!({"value": world.elsewhere(world.bed.gitea.url.as_str())})).await;
    let not_a_cluster = "cannot discover group helm.toolkit.fluxcd.io: HTTP 404";
    world.until_unreadable(&podinfo, Reason::TargetClusterNotReady, not_a_cluster).await;
}

#[tokio::test]
async fn a_cluster_of_another_namespace_can_be_forbidden() {
    let nobody = ClientBuilder::new(
        tower::service_fn(async |_request: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty()))),
        "default",
    )
    .build();
    let name = |namespace: Option<&str>, cross_namespace: bool| {
        let clusters = Clusters::new(nobody.clone(), loopback(), Duration::from_secs(1), cross_namespace);
        let reference = json!({"kind": "GitopsCluster", "name": "remote", "namespace": namespace});
        clusters.name("apps", &serde_json::from_value(reference).unwrap())
    };
    let own = ("apps".to_owned(), "remote".to_owned());
    assert_eq!(name(None, false), Ok(own.clone()));
    assert_eq!(name(Some("apps"), false), Ok(own));
    assert_eq!(name(Some("fleet"), true), Ok(("fleet".to_owned(), "remote".to_owned())));
    let refused = name(Some("fleet"), false).unwrap_err();
    assert_eq!(refused.reason, Reason::AccessDenied);
    assert!(refused.message.contains("--no-cross-namespace-refs"), "{}", refused.message);
}

#[tokio::test]
async fn an_answer_has_a_size_limit() {
    let huge = tower::service_fn(async |_request: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Body::from(vec![b' '; MAX_ANSWER + 1])))
    });
    let client = ClientBuilder::new(huge, "default").with_layer(&MapResponseLayer::new(cap)).build();
    let error = client.apiserver_version().await.unwrap_err();
    assert!(explain(&error).contains("length limit exceeded"), "{error}");
}
