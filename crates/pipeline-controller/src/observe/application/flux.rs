//! Flux' kinds, and those that follow its conventions.

use serde_json::Value;

use super::{Object, Reading, condition, not_observed, not_ready, owned, text};

/// [Kustomization](https://fluxcd.io/flux/components/kustomize/kustomizations/#last-applied-revision), where the revision is written
/// after the health checks, and whatever reports as it does.
pub(super) fn convention(object: &Object<'_>) -> Reading {
    Reading { revision: owned(object.status, "lastAppliedRevision"), not_ready: base(object) }
}

/// The chart version of the newest deployed entry of
/// [`status.history`](https://fluxcd.io/flux/components/helm/helmreleases/#history), which has to be the one that was attempted
/// last; before helm-controller wrote a history (Flux 2.2), `status.lastAppliedRevision`.
pub(super) fn helm_release(object: &Object<'_>) -> Reading {
    let Some(history) = object.status.get("history").and_then(Value::as_array) else {
        return convention(object);
    };
    let deployed = history.iter().filter(|release| text(release, "status") == Some("deployed"));
    let newest = deployed.max_by_key(|release| release.get("version").and_then(Value::as_i64));
    let revision = newest.and_then(|release| owned(release, "chartVersion"));
    let not_deployed = || {
        let (attempted, revision) = (text(object.status, "lastAttemptedRevision")?, revision.as_deref()?);
        (attempted != revision).then(|| format!("{attempted} was attempted, {revision} is deployed"))
    };
    Reading { not_ready: base(object).or_else(not_deployed), revision }
}

/// [The artifact](https://fluxcd.io/flux/components/source/gitrepositories/#artifact) that was fetched last: it is not deployed by that.
pub(super) fn source(object: &Object<'_>) -> Reading {
    Reading { revision: artifact(object.status), not_ready: base(object) }
}

/// [ExternalArtifact](https://fluxcd.io/flux/components/source/externalartifacts/) has no `status.observedGeneration`; its condition
/// may have one.
pub(super) fn external_artifact(object: &Object<'_>) -> Reading {
    let stale = || {
        let observed = condition(object.status, "Ready")?.get("observedGeneration")?.as_i64()?;
        (Some(observed) != object.metadata.generation)
            .then(|| "its controller has not observed the current generation yet".to_owned())
    };
    Reading { revision: artifact(object.status), not_ready: not_ready(object.status).or_else(stale) }
}

/// [Terraform](https://flux-iac.github.io/tofu-controller/References/terraform/) of tofu-controller: a plan that changes nothing
/// is not applied, and one that waits for approval is not done.
pub(super) fn terraform(object: &Object<'_>) -> Reading {
    let ready = condition(object.status, "Ready");
    let unchanged = ready.is_some_and(|ready| text(ready, "reason") == Some("PlannedNoChanges"));
    let revision = if unchanged { "lastPlannedRevision" } else { "lastAppliedRevision" };
    let pending = || {
        let plan = text(object.status.get("plan")?, "pending")?;
        Some(format!("plan {plan} waits for approval"))
    };
    let not_ready = pending().or_else(|| base(object));
    Reading { revision: owned(object.status, revision), not_ready }
}

fn artifact(status: &Value) -> Option<String> {
    owned(status.get("artifact")?, "revision")
}

fn base(object: &Object<'_>) -> Option<String> {
    not_observed(object).or_else(|| not_ready(object.status))
}
