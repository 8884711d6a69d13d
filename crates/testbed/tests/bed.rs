//! The bed itself, on its real servers.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::DynamicObject, core::GroupVersionKind, discovery};
use reqwest::Method;
use serde_json::json;
use testbed::{Testbed, flux::Application, process::output, shared};

const HELM_RELEASE: &str = "
apiVersion: helm.toolkit.fluxcd.io/v2beta1
kind: HelmRelease
metadata: {name: podinfo, namespace: NAMESPACE}
spec: {chart: {spec: {chart: podinfo}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: podinfo, namespace: NAMESPACE}
spec: {path: ./podinfo}
";

/// Set in the process that [`everything_ends_with_a_killed_process`] starts and kills.
const HELPER: &str = "TESTBED_BED_HELPER";

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn applied_objects_are_there_for_client_and_kubectl() {
    let bed = shared().await.unwrap();
    let namespace = bed.control_plane.namespace("apply").await.unwrap();
    let yaml = format!(
        "# Two documents, and one that is empty.\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: \
         {namespace}}}\ndata: {{k: '1'}}\n---\n{}",
        HELM_RELEASE.replace("NAMESPACE", &namespace)
    );
    assert_eq!(bed.control_plane.apply(&yaml).await.unwrap().len(), 3);

    let maps: Api<ConfigMap> = Api::namespaced(bed.control_plane.client().await.unwrap(), &namespace);
    let data = maps.get("a").await.unwrap().data.unwrap();
    assert_eq!(data["k"], "1");
    bed.control_plane.apply(&yaml.replace("'1'", "'2'")).await.unwrap();
    let k = bed.control_plane.kubectl(&["-n", &namespace, "get", "cm", "a", "-o=jsonpath={.data.k}"]).await.unwrap();
    assert_eq!(k, "2");

    let error = bed.control_plane.kubectl(&["get", "cm", "absent"]).await.unwrap_err().to_string();
    assert!(error.contains("configmaps \"absent\" not found"), "{error}");
    let error = bed.control_plane.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}").await.unwrap_err();
    assert!(format!("{error:#}").starts_with("applying ConfigMap A_b: "), "{error:#}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_is_defined_is_served_at_once() {
    let bed = shared().await.unwrap();
    let group = format!("{}.example.com", testbed::unique());
    let yaml = format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: widgets.{group}}}
spec:
  group: {group}
  scope: Cluster
  names: {{kind: Widget, plural: widgets}}
  versions:
    - {{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}
---
apiVersion: {group}/v1
kind: Widget
metadata: {{name: w}}
"
    );
    assert_eq!(bed.control_plane.apply(&yaml).await.unwrap().len(), 2);
    bed.control_plane.kubectl(&["delete", "crd", &format!("widgets.{group}")]).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_remote_cluster_is_another_one() {
    let bed = shared().await.unwrap();
    let namespace = bed.control_plane.namespace("local").await.unwrap();
    let absent = bed.remote.kubectl(&["get", "namespace", &namespace]).await.unwrap_err().to_string();
    assert!(absent.contains("not found"), "{absent}");
    assert_ne!(bed.control_plane.url, bed.remote.url);
    let version = bed.remote.client().await.unwrap().apiserver_version().await.unwrap();
    assert_eq!(version.major, "1");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn applications_look_as_flux_leaves_them() {
    let bed = shared().await.unwrap();
    let cluster = &bed.control_plane;
    let namespace = &cluster.namespace("flux").await.unwrap();
    cluster.apply(&HELM_RELEASE.replace("NAMESPACE", namespace)).await.unwrap();
    let helm_release = async || {
        let client = cluster.client().await.unwrap();
        let kind = GroupVersionKind::gvk("helm.toolkit.fluxcd.io", "v2beta1", "HelmRelease");
        let (resource, _) = discovery::pinned_kind(&client, &kind).await.unwrap();
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
        api.get("podinfo").await.unwrap().data["status"].take()
    };
    assert_eq!(helm_release().await, json!({"observedGeneration": -1}));

    cluster.set_helm_release_ready(namespace, "podinfo", "6.5.3").await.unwrap();
    cluster.set_helm_release_ready(namespace, "podinfo", "6.5.4").await.unwrap();
    let status = helm_release().await;
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["lastAttemptedRevision"], "6.5.4");
    let history: Vec<_> = status["history"].as_array().unwrap().iter().collect();
    assert_eq!(history.len(), 2);
    assert_eq!((&history[0]["chartVersion"], &history[0]["status"]), (&json!("6.5.4"), &json!("deployed")));
    assert_eq!((&history[1]["chartVersion"], &history[1]["status"]), (&json!("6.5.3"), &json!("superseded")));
    assert_eq!(history[0]["version"], 2);
    assert_eq!(
        (&status["conditions"][0]["type"], &status["conditions"][0]["status"]),
        (&json!("Ready"), &json!("True"))
    );

    cluster.set_progressing(Application::HelmRelease, namespace, "podinfo", "6.5.5").await.unwrap();
    assert_eq!(helm_release().await["conditions"][0]["type"], "Reconciling");
    cluster.set_not_ready(Application::HelmRelease, namespace, "podinfo", "timed out").await.unwrap();
    let status = helm_release().await;
    assert_eq!(status["conditions"][0]["message"], "timed out");
    assert_eq!(status["history"][0]["chartVersion"], "6.5.4");

    cluster.set_helm_release_ready_v2beta1(namespace, "podinfo", "6.5.5").await.unwrap();
    let status = helm_release().await;
    assert_eq!((&status["lastAppliedRevision"], &status["history"]), (&json!("6.5.5"), &json!(null)));

    let revision = "main@sha1:7ae1dd0d0e0b5dd8b0e8e0d2cbb3ac4ea44eeb1d";
    cluster.set_kustomization_ready(namespace, "podinfo", revision).await.unwrap();
    let path = "-o=jsonpath={.status.lastAppliedRevision} {.status.conditions[0].status}";
    let status = cluster.kubectl(&["-n", namespace, "get", "ks", "podinfo", path]).await.unwrap();
    assert_eq!(status, format!("{revision} True"));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn git_clones_from_and_pushes_to_gitea() {
    let bed = shared().await.unwrap();
    let files = [("README.md", "hello\n"), ("apps/prod/podinfo.yaml", "version: 6.5.3\r\n")];
    let repo = bed.gitea.create_repo("fleet", &files).await.unwrap();
    assert_eq!(repo.git(&["rev-list", "--count", "main"]).await.unwrap(), b"1\n");
    assert_eq!(repo.git(&["show", "main:apps/prod/podinfo.yaml"]).await.unwrap(), b"version: 6.5.3\r\n");

    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(folder.path()).args(["-c", "credential.helper="]).args(arguments);
        command.env("GIT_SSL_CAINFO", bed.ca.certificate_path()).env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        output(command)
    };
    let mut url = repo.clone_url.clone();
    let refused = git(&["clone", url.as_str(), "."]).await.unwrap_err().to_string();
    assert!(refused.contains("could not read Username"), "{refused}");
    url.set_username(&bed.gitea.username).unwrap();
    url.set_password(Some(&bed.gitea.token)).unwrap();
    git(&["clone", url.as_str(), "."]).await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("README.md")).unwrap(), "hello\n");

    std::fs::write(folder.path().join("README.md"), "hello again\n").unwrap();
    git(&["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-am", "Say more"]).await.unwrap();
    git(&["push", "origin", "HEAD:refs/heads/topic"]).await.unwrap();
    let head = repo.rev_parse("topic").await.unwrap();

    let pull = json!({"title": "Say more", "body": "b", "head": "topic", "base": "main"});
    let start = Instant::now();
    let number = loop {
        // Gitea's own table of branches follows a push.
        match bed
            .gitea
            .api(Method::POST, &format!("repos/{}/{}/pulls", repo.owner, repo.name), Some(&pull))
            .await
            .unwrap()
        {
            (201, created) => break created["number"].as_u64().unwrap(),
            (404, _) if start.elapsed() < Duration::from_secs(20) => {
                tokio::time::sleep(Duration::from_millis(100)).await
            }
            other => panic!("{other:?}"),
        }
    };
    let open = bed.gitea.pulls(&repo).await.unwrap();
    assert_eq!((open.len(), open[0].state.as_str(), open[0].merged), (1, "open", false));
    assert_eq!((open[0].head.name.as_str(), &open[0].head.sha), ("topic", &head));

    bed.gitea.merge(&repo, number).await.unwrap();
    let merged = bed.gitea.pull(&repo, number).await.unwrap();
    assert!(merged.merged && merged.state == "closed");
    assert_eq!(merged.merge_commit_sha.unwrap(), repo.rev_parse("main").await.unwrap());
    assert_eq!(bed.gitea.file(&repo, "main", "README.md").await.unwrap(), "hello again\n");
    assert_eq!(bed.gitea.branches(&repo).await.unwrap(), ["main", "topic"]);
    bed.gitea.delete_branch(&repo, "topic").await.unwrap();
    assert_eq!(bed.gitea.branches(&repo).await.unwrap(), ["main"]);

    bed.gitea.commit(&repo, "main", &[("README.md", "third\n")], "Behind your back").await.unwrap();
    assert_eq!(repo.git(&["show", "main:README.md"]).await.unwrap(), b"third\n");
    bed.gitea.delete_repo(&repo).await.unwrap();
    assert!(!repo.folder.exists());
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_token_may_do_less() {
    let bed = shared().await.unwrap();
    let repo = bed.gitea.create_repo("rights", &[("a", "b")]).await.unwrap();
    let user = bed.gitea.create_user_token(&["read:repository"]).await.unwrap();
    let client = bed.ca.http_client().unwrap();
    let path = format!("api/v1/repos/{}/{}", repo.owner, repo.name);
    let status = async |method: Method, path: &str| {
        let url = bed.gitea.url.join(path).unwrap();
        client.request(method, url).bearer_auth(&user.token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(Method::GET, &path).await, 404);
    bed.gitea.add_collaborator(&repo, &user.username, "write").await.unwrap();
    assert_eq!(status(Method::GET, &path).await, 200);
    assert_eq!(status(Method::DELETE, &format!("{path}/branches/main")).await, 403);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_saved_bed_is_there_for_others() {
    let bed = shared().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bed.json");
    bed.save(&file).unwrap();
    let attached = Testbed::attach(&file).unwrap();
    assert!(attached.pids().is_empty());
    let namespace = attached.control_plane.namespace("attached").await.unwrap();
    bed.control_plane.kubectl(&["get", "namespace", &namespace]).await.unwrap();
    attached.gitea.create_repo("attached", &[("a", "b")]).await.unwrap();
    assert_eq!(attached.ca.pem(), bed.ca.pem());
    drop(attached);
    bed.gitea.api(Method::GET, "version", None).await.unwrap();

    let error = Testbed::attach(&folder.path().join("absent.json")).unwrap_err().to_string();
    assert!(error.contains("absent.json"), "{error}");
}

/// Not a test in itself: what [`everything_ends_with_a_killed_process`] runs in another process.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn helper_that_holds_a_bed() {
    #[expect(clippy::disallowed_methods, reason = "tells the process that is to be killed from a plain test run")]
    if std::env::var_os(HELPER).is_none() {
        return;
    }
    let start = Instant::now();
    let bed = Testbed::start().await.unwrap();
    println!("up after {:?}", start.elapsed());
    println!("pids {}", bed.pids().iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    tokio::time::sleep(Duration::from_secs(600)).await;
}

#[test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
fn everything_ends_with_a_killed_process() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "helper_that_holds_a_bed", "--nocapture"])
        .env(HELPER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let pids: Vec<u32> = lines
        .map_while(Result::ok)
        .inspect(|line| println!("{line}"))
        .find_map(|line| Some(line.split_once("pids ")?.1.split(' ').map(|pid| pid.parse().unwrap()).collect()))
        .unwrap();
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| runs(*pid)));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let start = Instant::now();
    while pids.iter().any(|pid| runs(*pid)) {
        assert!(start.elapsed() < Duration::from_secs(10), "some of {pids:?} still run");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn runs(pid: u32) -> bool {
    // A process that nobody has waited for yet is a zombie: it has ended.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| state != 'Z')
}
