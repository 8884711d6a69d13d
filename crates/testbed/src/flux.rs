//! What Flux' controllers write, written by tests: the application side of a cluster without Flux.
//!
//! The controllers themselves are not started: a test says what became of an application, and the status is then as the
//! real controller would have left it, so far as a promoter can see. Fields as in
//! [helm-controller's API](https://fluxcd.io/flux/components/helm/api/v2/) and
//! [kustomize-controller's](https://fluxcd.io/flux/components/kustomize/api/v1/).

use anyhow::{Context as _, Result};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;

/// The CustomResourceDefinitions of HelmRelease, Kustomization and GitopsCluster: own ones, with open schemas.
pub const CRDS: &str = concat!(
    include_str!("../crds/helmreleases.yaml"),
    "---\n",
    include_str!("../crds/kustomizations.yaml"),
    "---\n",
    include_str!("../crds/gitopsclusters.yaml"),
);

/// A kind of application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// `helm.toolkit.fluxcd.io`, `HelmRelease`.
    HelmRelease,
    /// `kustomize.toolkit.fluxcd.io`, `Kustomization`.
    Kustomization,
}

impl Application {
    fn kind(self) -> GroupVersionKind {
        match self {
            Self::HelmRelease => GroupVersionKind::gvk("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
            Self::Kustomization => GroupVersionKind::gvk("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
        }
    }
}

impl ControlPlane {
    /// Marks a HelmRelease as helm-controller 1.0 and later does once `version` of the chart is installed: the release
    /// is at the head of `status.history`, and an earlier one is `superseded`.
    pub async fn set_helm_release_ready(&self, namespace: &str, name: &str, version: &str) -> Result<()> {
        self.write_status(Application::HelmRelease, namespace, name, |object, now| {
            let mut history =
                object.data.pointer("/status/history").and_then(Value::as_array).cloned().unwrap_or_default();
            for release in &mut history {
                if let Some(status) = release.get_mut("status") {
                    *status = "superseded".into();
                }
            }
            let action = if history.is_empty() { "install" } else { "upgrade" };
            history.insert(0, snapshot(object, version, "deployed", history.len() + 1, now));
            history.truncate(5);
            let reason = if action == "install" { "InstallSucceeded" } else { "UpgradeSucceeded" };
            let message = format!("Helm {action} succeeded for release {namespace}/{name} with chart {name}@{version}");
            json!({
                "observedGeneration": object.metadata.generation,
                "lastAttemptedGeneration": object.metadata.generation,
                "lastAttemptedRevision": version,
                "lastAttemptedReleaseAction": action,
                "history": history,
                "conditions": [
                    condition(object, "Ready", "True", reason, &message, now),
                    condition(object, "Released", "True", reason, &message, now),
                ],
            })
        })
        .await
    }

    /// Marks a HelmRelease as helm-controller up to 0.36 does, which only knew `v2beta1`: it writes
    /// `status.lastAppliedRevision` and keeps no history.
    pub async fn set_helm_release_ready_v2beta1(&self, namespace: &str, name: &str, version: &str) -> Result<()> {
        self.write_status(Application::HelmRelease, namespace, name, |object, now| {
            let message = "Release reconciliation succeeded";
            json!({
                "observedGeneration": object.metadata.generation,
                "lastAppliedRevision": version,
                "lastAttemptedRevision": version,
                "history": null,
                "conditions": [
                    condition(object, "Ready", "True", "ReconciliationSucceeded", message, now),
                    condition(object, "Released", "True", "UpgradeSucceeded", "Helm upgrade succeeded", now),
                ],
            })
        })
        .await
    }

    /// Marks a Kustomization as applied and healthy at `revision`, such as `main@sha1:<commit>`.
    pub async fn set_kustomization_ready(&self, namespace: &str, name: &str, revision: &str) -> Result<()> {
        self.write_status(Application::Kustomization, namespace, name, |object, now| {
            let message = format!("Applied revision: {revision}");
            json!({
                "observedGeneration": object.metadata.generation,
                "lastAppliedRevision": revision,
                "lastAttemptedRevision": revision,
                "conditions": [condition(object, "Ready", "True", "ReconciliationSucceeded", &message, now)],
            })
        })
        .await
    }

    /// Marks an application as failed with `message` while it keeps the revision that it had.
    pub async fn set_not_ready(
        &self,
        application: Application,
        namespace: &str,
        name: &str,
        message: &str,
    ) -> Result<()> {
        self.write_status(application, namespace, name, |object, now| {
            let reason = match application {
                Application::HelmRelease => "UpgradeFailed",
                Application::Kustomization => "HealthCheckFailed",
            };
            json!({
                "observedGeneration": object.metadata.generation,
                "conditions": [condition(object, "Ready", "False", reason, message, now)],
            })
        })
        .await
    }

    /// Marks an application as being moved to `revision`, with an outcome yet unknown.
    pub async fn set_progressing(
        &self,
        application: Application,
        namespace: &str,
        name: &str,
        revision: &str,
    ) -> Result<()> {
        self.write_status(application, namespace, name, |object, now| {
            let message = format!("Moving to {revision} with timeout of 5m0s");
            json!({
                "observedGeneration": object.metadata.generation,
                "lastAttemptedRevision": revision,
                "conditions": [
                    condition(object, "Reconciling", "True", "Progressing", &message, now),
                    condition(object, "Ready", "Unknown", "Progressing", &message, now),
                ],
            })
        })
        .await
    }

    async fn write_status(
        &self,
        application: Application,
        namespace: &str,
        name: &str,
        status: impl Fn(&DynamicObject, jiff::Timestamp) -> Value,
    ) -> Result<()> {
        #[expect(clippy::disallowed_methods, reason = "conditions carry the real time of their transition")]
        let now = jiff::Timestamp::now();
        let client = self.client().await?;
        let api: Api<DynamicObject> = self.api(&client, &application.kind(), Some(namespace)).await?;
        let what = format!("the status of {application:?} {namespace}/{name}");
        let object = api.get(name).await.with_context(|| format!("reading {what}"))?;
        let patch = json!({"status": status(&object, now)});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .with_context(|| format!("writing {what}"))?;
        Ok(())
    }
}

fn condition(
    object: &DynamicObject,
    r#type: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: jiff::Timestamp,
) -> Value {
    json!({
        "type": r#type,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": object.metadata.generation,
        "lastTransitionTime": seconds(now),
    })
}

fn snapshot(object: &DynamicObject, version: &str, status: &str, number: usize, now: jiff::Timestamp) -> Value {
    json!({
        "name": object.metadata.name,
        "namespace": object.metadata.namespace,
        "version": number,
        "status": status,
        "chartName": object.metadata.name,
        "chartVersion": version,
        "appVersion": version,
        "firstDeployed": seconds(now),
        "lastDeployed": seconds(now),
    })
}

/// Kubernetes writes times in whole seconds.
fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
