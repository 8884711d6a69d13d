use std::time::Instant;

use egress::{Egress, Policy};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Config};
use serde_json::{Value, json};
use testbed::{Testbed, shared, unique};

use super::*;

/// Longest time that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of its own, `Widget`, and a namespace for its objects.
struct World {
    bed: &'static Testbed,
    group: String,
    namespace: String,
    applications: Applications,
    woken: mpsc::Receiver<Follower>,
}

impl World {
    /// As a user of this name; none: an administrator.
    async fn new(user: Option<&str>, by_namespace: bool) -> Self {
        let bed = shared().await.unwrap();
        let kubeconfig = Kubeconfig::read_from(&bed.control_plane.kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.proxy_url = None;
        config.auth_info.impersonate = user.map(str::to_owned);
        let client = Client::try_from(config).unwrap();
        let clusters =
            Clusters::new(client.clone(), Egress::new(Policy::default()).unwrap(), Duration::from_secs(1), true);
        let (wake, woken) = mpsc::channel(64);
        Self {
            bed,
            group: format!("w{}.example.io", unique()),
            namespace: bed.control_plane.namespace("apps").await.unwrap(),
            applications: Applications::new(client, clusters, wake, by_namespace),
            woken,
        }
    }

    async fn apply(&self, object: Value) {
        self.bed.control_plane.apply(&object.to_string()).await.unwrap();
    }

    fn definition(&self) -> String {
        format!("widgets.{}", self.group)
    }

    async fn define(&self) {
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        self.apply(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": self.definition()},
            "spec": {
                "group": self.group, "scope": "Namespaced",
                "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": any},
                }],
            },
        }))
        .await;
    }

    async fn undefine(&self) {
        let definition = self.definition();
        self.bed.control_plane.kubectl(&["delete", "crd", &definition, "--wait=false"]).await.unwrap();
    }

    /// A Widget that is ready at `revision`.
    async fn widget(&self, name: &str, revision: &str) {
        let types = json!({"apiVersion": format!("{}/v1", self.group), "kind": "Widget"});
        let mut widget = types.clone();
        widget["metadata"] = json!({"name": name, "namespace": self.namespace});
        widget["spec"] = json!({});
        self.apply(widget).await;
        let kind = GroupVersionKind::gvk(&self.group, "v1", "Widget");
        let client = self.bed.control_plane.client().await.unwrap();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.namespace, &ApiResource::from_gvk(&kind));
        let status = json!({
            "observedGeneration": 1, "lastAppliedRevision": revision,
            "conditions": [{"type": "Ready", "status": "True"}],
        });
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// What `user` may do with Widgets.
    async fn grant(&self, user: &str, verbs: &[&str]) {
        self.apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": user, "namespace": self.namespace},
            "rules": [{"apiGroups": [self.group], "resources": ["widgets"], "verbs": verbs}],
        }))
        .await;
        self.apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": user, "namespace": self.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }))
        .await;
    }

    /// A Pipeline with a Widget of this name in its only environment.
    fn pipeline(&self, name: &str, widget: &str) -> Pipeline {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "pipelines"},
            "spec": {
                "appRef": {"apiVersion": format!("{}/v1", self.group), "kind": "Widget", "name": widget},
                "environments": [{"name": "dev", "targets": [{"namespace": self.namespace}]}],
            },
        }))
        .unwrap()
    }

    async fn read(&self, pipeline: &Pipeline) -> String {
        self.applications.follow(pipeline);
        match self.applications.read(pipeline, &pipeline.spec.environments[0].targets[0]).await {
            Ok(application) => application.revision.unwrap_or(application.message),
            Err(why) => why.message.replace(&self.group, "GROUP").replace(&self.namespace, "NS"),
        }
    }

    async fn until(&self, pipeline: &Pipeline, expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.read(pipeline).await;
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{found}, not {expected}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The Pipelines that are woken, until one has this name.
    async fn woken(&mut self, name: &str) {
        let woken = async { while self.woken.recv().await.unwrap().name != name {} };
        tokio::time::timeout(PATIENCE, woken).await.unwrap();
    }
}

const NO_KIND: &str = "the API server has no kind Widget in group GROUP: is its custom resource definition installed?";

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_kind_that_appears_and_vanishes_shows() {
    let mut world = World::new(None, false).await;
    let first = world.pipeline("first", "widget");
    world.until(&first, NO_KIND).await;
    world.define().await;
    world.woken("first").await;
    world.until(&first, "Widget NS/widget not found").await;
    world.widget("widget", "1").await;
    world.until(&first, "1").await;
    world.undefine().await;
    world.until(&first, NO_KIND).await;
    world.define().await;
    world.widget("widget", "2").await;
    world.until(&first, "2").await;
    world.undefine().await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_change_wakes_those_who_follow_and_a_shared_cache_stays_until_the_last_has_gone() {
    let mut world = World::new(None, false).await;
    world.define().await;
    for name in ["one", "two"] {
        world.widget(name, "1").await;
    }
    let (first, second) = (world.pipeline("first", "one"), world.pipeline("second", "two"));
    world.until(&first, "1").await;
    world.until(&second, "1").await;
    assert_eq!(world.applications.caches(), 1);

    while world.woken.try_recv().is_ok() {}
    world.widget("two", "2").await;
    world.woken("second").await;
    assert_eq!(world.read(&second).await, "2");
    while let Ok(woken) = world.woken.try_recv() {
        assert_eq!(woken.name, "second");
    }

    world.applications.unfollow("pipelines", "first");
    assert_eq!(world.applications.caches(), 1);
    world.widget("two", "3").await;
    world.woken("second").await;
    let mut moved = second.clone();
    moved.spec.app_ref.kind = "Gadget".to_owned();
    world.applications.follow(&moved);
    assert_eq!(world.applications.caches(), 1);
    world.applications.unfollow("pipelines", "second");
    assert_eq!(world.applications.caches(), 0);
    world.undefine().await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn watches_only_what_it_may_and_reads_what_it_may_not_watch() {
    let user = format!("user-{}", unique());
    let world = World::new(Some(&user), true).await;
    world.define().await;
    world.widget("widget", "1").await;
    let pipeline = world.pipeline("first", "widget");
    let forbidden = world.read(&pipeline).await;
    assert!(forbidden.contains("cannot read Widget NS/widget: ") && forbidden.contains("forbidden"), "{forbidden}");

    world.grant(&user, &["get"]).await;
    let second = world.pipeline("second", "other");
    world.until(&second, "Widget NS/other not found").await;
    world.until(&pipeline, "1").await;

    // In the namespace of the target alone.
    world.grant(&user, &["get", "list", "watch"]).await;
    let mut watching = World::new(Some(&user), true).await;
    watching.group = world.group.clone();
    watching.namespace = world.namespace.clone();
    watching.until(&pipeline, "1").await;
    while watching.woken.try_recv().is_ok() {}
    watching.widget("widget", "2").await;
    watching.woken("first").await;
    assert_eq!(watching.read(&pipeline).await, "2");
    world.undefine().await;
}
