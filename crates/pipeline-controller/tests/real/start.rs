//! What is wrong is told precisely, and the process ends; what is only not there yet is waited for.

use std::process::{Command, Output};

use anyhow::Result;
use testbed::Process;

use crate::world::{DEFINITION, PATIENCE, World};

fn controller(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline-controller"));
    command.args(["--log-encoding", "console"]).args(arguments);
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = controller(arguments).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn wrong_flags_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("ca.pem");
    std::fs::write(&broken, "no certificate").unwrap();
    let broken = broken.to_str().unwrap();
    for (arguments, code, words) in [
        (&["--shard", "4/4"][..], 2, &["--shard", "`4/4` is not one of up to 1024 parts such as 0/4"][..]),
        (&["--no-such-flag"], 2, &["--no-such-flag"]),
        (&["--ca-file", "/nowhere/ca.pem"], 1, &["--ca-file /nowhere/ca.pem", "No such file"]),
        (&["--ca-file", broken], 1, &["--ca-file", "CA bundle cannot be used"]),
        (&["--kubeconfig", "/nowhere/kubeconfig"], 1, &["--kubeconfig /nowhere/kubeconfig"]),
        (
            &["--leader-election-renew-deadline", "20s"],
            1,
            &["--leader-election-renew-deadline 20s must be shorter than --leader-election-lease-duration 15s"],
        ),
    ] {
        let (ended, told) = run(arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {told}");
        assert!(words.iter().all(|word| told.contains(word)), "{arguments:?}: {told}");
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn missing_rights_and_selectors_are_told() -> Result<()> {
    let world = World::without_controller().await?;
    let kubeconfig = world.kubeconfig.to_str().unwrap();
    let nobody = world.kubeconfig.with_file_name("nobody");
    let account = serde_json::json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": world.namespace},
    });
    world.apply(account).await?;
    world.cluster.service_account(&world.namespace, "nobody", &nobody).await?;
    let addresses = [
        "--promotion-hook-bind-address=127.0.0.1:0",
        "--health-probe-bind-address=127.0.0.1:0",
        "--metrics-bind-address=0",
        "--kubeconfig",
    ];
    for (arguments, words) in [
        (
            &[nobody.to_str().unwrap()][..],
            &["Pipelines may not be listed: grant list and watch of pipelines.pipelines.weave.works in all namespaces"]
                [..],
        ),
        (&[nobody.to_str().unwrap(), "--namespace", &world.namespace], &["in the namespace", "nobody"]),
        (&[kubeconfig, "--watch-label-selector", "a=b=c"], &["--watch-label-selector a=b=c", "found '='"]),
    ] {
        let arguments: Vec<String> = addresses.iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        let told = tokio::task::spawn_blocking(move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        let (ended, told) = told.await?;
        assert_eq!(ended, Some(1), "{told}");
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
    }
    Ok(())
}

/// Who may not use Leases ends, and says what is to be granted.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_lease_that_may_not_be_used_is_told() -> Result<()> {
    let world = World::without_controller().await?;
    let folder = tempfile::tempdir()?;
    let account = format!("{}-lister", world.namespace);
    world
        .cluster
        .apply(&format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}, namespace: {namespace}}}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {account}, namespace: {namespace}}}\n\
             rules: [{{apiGroups: [pipelines.weave.works], resources: [pipelines], verbs: [get, list, watch]}}]\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {account}, namespace: {namespace}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {account}}}\n\
             subjects: [{{kind: ServiceAccount, name: {account}, namespace: {namespace}}}]\n",
            namespace = world.namespace
        ))
        .await?;
    let kubeconfig = folder.path().join("kubeconfig");
    world.cluster.service_account(&world.namespace, &account, &kubeconfig).await?;
    let command = controller(&[
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--namespace",
        &world.namespace,
        "--leader-elect",
        "--leader-election-namespace",
        &world.namespace,
        "--leader-election-retry-period",
        "100ms",
        "--promotion-hook-bind-address",
        "127.0.0.1:0",
        "--health-probe-bind-address",
        "127.0.0.1:0",
        "--metrics-bind-address",
        "0",
    ]);
    let mut process = Process::start(&command, &folder.path().join("log"))?;
    assert_eq!(process.wait(PATIENCE).await?, 1);
    let told = process.log()?;
    assert!(
        told.contains("may not be used: grant get, create and update of leases.coordination.k8s.io there"),
        "{told}"
    );
    Ok(())
}

/// The definition comes after the controller.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_definition_is_waited_for() -> Result<()> {
    let bed: &testbed::Testbed = Box::leak(Box::new(testbed::Testbed::start().await?));
    let mut world = World::on(bed, &bed.control_plane).await?;
    let folder = tempfile::tempdir()?;
    let port = testbed::ports::free()?;
    let command = controller(&[
        "--kubeconfig",
        world.kubeconfig.to_str().unwrap(),
        "--promotion-hook-bind-address",
        "127.0.0.1:0",
        "--health-probe-bind-address",
        &format!("127.0.0.1:{port}"),
        "--metrics-bind-address",
        "0",
    ]);
    let mut process = Process::start(&command, &folder.path().join("log"))?;
    let probe = async |path: &str| {
        let answer = world.http.get(format!("http://127.0.0.1:{port}{path}")).send().await;
        answer.map(|answer| answer.status().as_u16()).unwrap_or_default()
    };
    let log = folder.path().join("log");
    let tells = || std::fs::read_to_string(&log).unwrap_or_default().contains("install the custom resource definition");
    process.ready(PATIENCE, async || tells()).await?;
    assert_eq!((probe("/healthz").await, probe("/readyz").await), (200, 503));
    bed.control_plane.apply(DEFINITION).await?;
    process.ready(PATIENCE, async || probe("/readyz").await == 200).await?;
    process.signal("TERM")?;
    assert_eq!(process.wait(PATIENCE).await?, 0);
    world.start(&[]).await
}
