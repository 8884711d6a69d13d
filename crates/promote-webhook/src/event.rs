use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

/// The component that reports events.
pub(crate) const CONTROLLER: &str = "pipeline-controller";

/// The Pipeline that an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Group and version, `pipelines.weave.works/v1alpha1`.
    pub api_version: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, where it lives in a cluster.
    pub uid: Option<String>,
}

impl Pipeline {
    /// Its path at the API server.
    pub(crate) fn path(&self) -> String {
        format!("/apis/{}/namespaces/{}/pipelines/{}", self.api_version, self.namespace, self.name)
    }
}

/// One promotion, as it is told to the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The Pipeline.
    pub pipeline: Pipeline,
    /// The promotion, the same in all attempts.
    pub promotion_id: Uuid,
    /// The environment to promote to.
    pub environment: String,
    /// The environment that runs the version already.
    pub source_environment: Option<String>,
    /// The version to promote.
    pub version: String,
    /// The version that `environment` runs now.
    pub previous_version: Option<String>,
    /// The kind of the application, such as `HelmRelease`.
    pub app_kind: String,
    /// The name of the application.
    pub app_name: String,
    /// When the promotion was decided, not when it is attempted.
    pub timestamp: Timestamp,
}

impl Event {
    /// A Flux [Event v1beta1](https://github.com/fluxcd/pkg/blob/main/apis/event/v1beta1/event.go), the same bytes for the same
    /// event.
    pub(crate) fn flux(&self) -> Result<Box<RawValue>, serde_json::Error> {
        let Self { pipeline, environment, version, .. } = self;
        let promotion_id = self.promotion_id.to_string();
        let metadata = [
            ("pipeline", Some(pipeline.name.as_str())),
            ("environment", Some(environment)),
            ("sourceEnvironment", self.source_environment.as_deref()),
            ("version", Some(version)),
            ("previousVersion", self.previous_version.as_deref()),
            ("appKind", Some(&self.app_kind)),
            ("appName", Some(&self.app_name)),
            ("promotionId", Some(&promotion_id)),
        ];
        let flux = FluxEvent {
            involved_object: ObjectReference {
                kind: "Pipeline",
                namespace: &pipeline.namespace,
                name: &pipeline.name,
                uid: pipeline.uid.as_deref(),
                api_version: &pipeline.api_version,
            },
            severity: "info",
            timestamp: rfc3339(self.timestamp),
            message: format!(
                "Promote pipeline {}/{} to {environment} with version {version}",
                pipeline.namespace, pipeline.name
            ),
            reason: "Promote",
            metadata: metadata.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
            reporting_controller: CONTROLLER,
        };
        to_raw_value(&flux)
    }
}

/// In whole seconds, as Kubernetes writes times.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FluxEvent<'a> {
    involved_object: ObjectReference<'a>,
    severity: &'a str,
    timestamp: String,
    message: String,
    reason: &'a str,
    metadata: BTreeMap<&'a str, &'a str>,
    reporting_controller: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectReference<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    api_version: &'a str,
}
