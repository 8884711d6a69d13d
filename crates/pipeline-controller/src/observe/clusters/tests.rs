use std::convert::Infallible;

use egress::{Guard, Policy};
use http::{Request, Response};
use kube::api::{Patch, PatchParams};
use kube::client::{Body, ClientBuilder};
use serde_json::json;
use testbed::{Testbed, shared};
use tower::util::MapResponseLayer;

use super::connection::{MAX_ANSWER, cap};
use super::*;

/// A GitopsCluster `remote` in a namespace of its own, for the bed's second cluster, on which podinfo is at 6.1.0.
struct World {
    bed: &'static Testbed,
    clusters: Clusters,
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

impl World {
    async fn new() -> Self {
        let bed = shared().await.unwrap();
        let world = Self {
            bed,
            clusters: Clusters::new(bed.control_plane.client().await.unwrap(), loopback()),
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

    async fn read(&self) -> Result<Application, Unreadable> {
        self.read_as(&cluster_ref(&json!({})), "podinfo").await
    }

    async fn read_as(&self, cluster: &ClusterRef, app: &str) -> Result<Application, Unreadable> {
        let app_ref = AppRef {
            api_version: "helm.toolkit.fluxcd.io/v2beta1".to_owned(),
            kind: "HelmRelease".to_owned(),
            name: app.to_owned(),
        };
        self.clusters.read(&self.namespace, cluster, &app_ref, &self.apps).await
    }

    /// The target's condition: its reason, and its message without the GitopsCluster that it begins with.
    async fn unreadable(&self) -> (Reason, String) {
        self.told(self.read().await)
    }

    fn told(&self, read: Result<Application, Unreadable>) -> (Reason, String) {
        let Unreadable { reason, message } = read.unwrap_err();
        let prefix = format!("GitopsCluster {}/remote", self.namespace);
        let message = message.strip_prefix(&prefix).unwrap_or(&message);
        (reason, message.trim_start_matches([':', ' ']).replace(&self.namespace, "NS"))
    }
}

fn cluster_ref(fields: &Value) -> ClusterRef {
    let mut cluster = json!({"kind": "GitopsCluster", "name": "remote"});
    cluster.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(cluster).unwrap()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn reads_through_either_kind_of_secret() {
    let world = World::new().await;
    world.cluster(json!({"secretRef": {"name": "kubeconfig"}})).await;
    for key in ["kubeconfig", "value.yaml", "value"] {
        world.secret("kubeconfig", json!({key: world.kubeconfig()})).await;
        let application = world.read().await.unwrap();
        assert_eq!((application.ready, application.revision.as_deref()), (true, Some("6.1.0")));
    }

    let elsewhere = cluster_ref(&json!({"namespace": world.namespace, "apiVersion": "gitops.weave.works/v1beta1"}));
    let app_ref = AppRef {
        api_version: "helm.toolkit.fluxcd.io/v2".to_owned(),
        kind: "HelmRelease".to_owned(),
        name: "podinfo".to_owned(),
    };
    assert!(world.clusters.read("default", &elsewhere, &app_ref, &world.apps).await.unwrap().ready);

    let capi = World::new().await;
    capi.cluster(json!({"capiClusterRef": {"name": "prod"}})).await;
    capi.secret("prod-kubeconfig", json!({"value": capi.kubeconfig()})).await;
    assert!(capi.read().await.unwrap().ready);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_server_at_a_guarded_address_is_not_called() {
    let mut world = World::new().await;
    world.clusters =
        Clusters::new(world.bed.control_plane.client().await.unwrap(), Egress::new(Policy::default()).unwrap());
    world.cluster(json!({"secretRef": {"name": "kubeconfig"}})).await;
    world.secret("kubeconfig", json!({"value": world.kubeconfig()})).await;
    let (reason, message) = world.unreadable().await;
    assert_eq!(reason, Reason::TargetClusterNotReady);
    assert!(message.contains("127.0.0.1 is a loopback address; only the operator can allow it"), "{message}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn says_what_is_missing() {
    let world = World::new().await;
    assert_eq!(world.unreadable().await, (Reason::TargetClusterNotFound, "not found".to_owned()));
    let argo = world.read_as(&cluster_ref(&json!({"apiVersion": "argoproj.io/v1"})), "podinfo").await;
    assert_eq!(
        world.told(argo),
        (
            Reason::TargetClusterNotFound,
            "clusterRef.apiVersion argoproj.io/v1 has no GitopsCluster: leave it out or name gitops.weave.works/v1alpha1"
                .to_owned()
        )
    );

    let not_ready = async |expected: &str| {
        assert_eq!(world.unreadable().await, (Reason::TargetClusterNotReady, expected.to_owned()));
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
    let absent = world.read_as(&cluster_ref(&json!({})), "absent").await;
    let expected = format!("HelmRelease {}/absent not found", world.apps);
    assert_eq!(world.told(absent), (Reason::TargetNotReadable, expected));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn waits_for_a_cluster_that_is_not_ready() {
    let world = World::new().await;
    world.cluster(json!({"secretRef": {"name": "kubeconfig"}})).await;
    world.secret("kubeconfig", json!({"value": world.kubeconfig()})).await;
    let client = world.bed.control_plane.client().await.unwrap();
    let clusters: Api<DynamicObject> = Api::namespaced_with(client, &world.namespace, &world.clusters.resource);
    let condition = async |status: &str| {
        let condition = json!({"type": "Ready", "status": status, "reason": "WaitingForSecret", "message": "soon"});
        let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        clusters.patch_status("remote", &PatchParams::default(), &patch).await.unwrap();
    };
    condition("False").await;
    let expected = (Reason::TargetClusterNotReady, "not Ready: WaitingForSecret: soon".to_owned());
    assert_eq!(world.unreadable().await, expected);
    for status in ["Unknown", "True"] {
        condition(status).await;
        assert!(world.read().await.unwrap().ready);
    }

    let finalizer = |finalizers: Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    clusters.patch("remote", &PatchParams::default(), &finalizer(json!(["example.com/wait"]))).await.unwrap();
    let _deleting = clusters.delete("remote", &Default::default()).await.unwrap();
    assert_eq!(world.unreadable().await, (Reason::TargetClusterNotReady, "is being deleted".to_owned()));
    clusters.patch("remote", &PatchParams::default(), &finalizer(Value::Null)).await.unwrap();
    assert_eq!(world.unreadable().await, (Reason::TargetClusterNotFound, "not found".to_owned()));
    assert!(world.clusters.known().is_empty());
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn keeps_the_client_until_the_secret_changes() {
    let world = World::new().await;
    world.cluster(json!({"secretRef": {"name": "kubeconfig"}})).await;
    world.secret("kubeconfig", json!({"value": world.kubeconfig()})).await;
    let cluster = async || world.clusters.cluster(&world.namespace, "remote").await.unwrap();
    let (first, second) = (cluster().await, cluster().await);
    assert!(Arc::ptr_eq(&first, &second));

    let revoked = world.kubeconfig().replace("testbed-admin", "revoked");
    world.secret("kubeconfig", json!({"value": revoked})).await;
    let (reason, message) = world.unreadable().await;
    assert_eq!(reason, Reason::TargetClusterNotReady);
    assert_eq!(message, "cannot discover group helm.toolkit.fluxcd.io: Unauthorized");

    world.secret("kubeconfig", json!({"value": world.kubeconfig()})).await;
    assert!(world.read().await.unwrap().ready);
    assert!(!Arc::ptr_eq(&first, &cluster().await));

    // Another Secret, although it says the same.
    let third = cluster().await;
    world.secret("other", json!({"value": world.kubeconfig()})).await;
    world.cluster(json!({"secretRef": {"name": "other"}})).await;
    assert!(!Arc::ptr_eq(&third, &cluster().await));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_dead_cluster_shows_in_time() {
    let world = World::new().await;
    world.cluster(json!({"secretRef": {"name": "kubeconfig"}})).await;
    let unreadable = async |server: &str| {
        world.secret("kubeconfig", json!({"value": world.elsewhere(server)})).await;
        let (reason, message) = world.unreadable().await;
        assert_eq!(reason, Reason::TargetClusterNotReady, "{message}");
        message
    };

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let started = Instant::now();
    let hanging = unreadable(&address).await;
    assert!(hanging.contains("deadline has elapsed"), "{hanging}");
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());

    let started = Instant::now();
    let (reason, message) = world.unreadable().await;
    assert_eq!((reason, message), (Reason::TargetClusterNotReady, hanging));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());

    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", gone.local_addr().unwrap());
    drop(gone);
    let dead = unreadable(&address).await;
    assert!(dead.contains("Connection refused"), "{dead}");

    let not_a_cluster = unreadable(world.bed.gitea.url.as_str()).await;
    assert_eq!(not_a_cluster, "cannot discover group helm.toolkit.fluxcd.io: HTTP 404");
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
