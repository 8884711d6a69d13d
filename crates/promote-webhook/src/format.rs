//! The same event in the words of different receivers.

use aws_lc_rs::digest;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use url::Url;

use crate::{
    Error, Event,
    event::{Pipeline, rfc3339},
    request::invalid,
};

pub(crate) const EVENT_TYPE: &str = "works.weave.pipelines.promotion.v1";

/// The longest `event_type`, in characters.
/// <https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event>
const MAX_EVENT_TYPE: usize = 100;

/// What a receiver understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A Flux event, with the attributes of a CloudEvent in headers (binary mode).
    #[default]
    Generic,
    /// GitHub's [repository dispatch](https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event), with the
    /// Flux event as `client_payload` and `Pipeline/<name>.<namespace>` as `event_type`, as Flux has it. The URL is that of the
    /// repository for people, or that of the API, which ends in `/dispatches`.
    GitHubDispatch,
    /// A CloudEvent in
    /// [structured mode](https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md#32-structured-content-mode),
    /// with the Flux event as its data.
    CloudEvents,
}

#[derive(Serialize)]
struct Dispatch<'a> {
    event_type: String,
    client_payload: &'a RawValue,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'a str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    type_: &'a str,
    time: String,
    datacontenttype: &'a str,
    data: &'a RawValue,
}

/// The body for `event`, the same bytes for the same event.
pub(crate) fn body(format: Format, event: &Event) -> Result<Bytes, Error> {
    let flux = event.flux().map_err(invalid)?;
    let body = match format {
        Format::Generic => return Ok(flux.get().to_owned().into()),
        Format::GitHubDispatch => {
            serde_json::to_vec(&Dispatch { event_type: event_type(&event.pipeline), client_payload: &flux })
        }
        Format::CloudEvents => serde_json::to_vec(&CloudEvent {
            specversion: "1.0",
            id: event.promotion_id.to_string(),
            source: event.pipeline.path(),
            type_: EVENT_TYPE,
            time: rfc3339(event.timestamp),
            datacontenttype: "application/json",
            data: &flux,
        }),
    };
    body.map(Bytes::from).map_err(invalid)
}

/// The headers that the format asks for; those of the Secret may replace them.
pub(crate) fn headers(format: Format) -> &'static [(&'static str, &'static str)] {
    match format {
        Format::Generic => &[("content-type", "application/json")],
        Format::GitHubDispatch => &[
            ("content-type", "application/json"),
            ("accept", "application/vnd.github+json"),
            ("x-github-api-version", "2022-11-28"),
        ],
        Format::CloudEvents => &[("content-type", "application/cloudevents+json")],
    }
}

/// Where the event goes: for a dispatch to the API behind a repository's URL, on github.com or on an Enterprise Server
/// (<https://docs.github.com/en/enterprise-server/rest/using-the-rest-api/getting-started-with-the-rest-api>).
pub(crate) fn url(format: Format, url: &Url) -> Url {
    let Format::GitHubDispatch = format else { return url.clone() };
    let path = url.path().trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    if path.ends_with("/dispatches") || path.split('/').count() != 2 {
        return url.clone();
    }
    let mut api = url.clone();
    if matches!(url.host_str(), Some("github.com" | "www.github.com")) && api.set_host(Some("api.github.com")).is_ok() {
        api.set_path(&format!("repos/{path}/dispatches"));
    } else {
        api.set_path(&format!("api/v3/repos/{path}/dispatches"));
    }
    api
}

fn event_type(pipeline: &Pipeline) -> String {
    let whole = format!("Pipeline/{}.{}", pipeline.name, pipeline.namespace);
    if whole.chars().count() <= MAX_EVENT_TYPE {
        return whole;
    }
    // Names of objects are ASCII.
    let hash = digest::digest(&digest::SHA256, whole.as_bytes());
    let hash: String = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = whole.chars().take(MAX_EVENT_TYPE - 1 - hash.len()).collect();
    format!("{kept}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_dispatch_goes() {
        let check = |text: &str, expect: &str| {
            assert_eq!(url(Format::GitHubDispatch, &text.parse().unwrap()).as_str(), expect);
            assert_eq!(url(Format::Generic, &text.parse().unwrap()), text.parse().unwrap());
        };
        check("https://github.com/acme/fleet", "https://api.github.com/repos/acme/fleet/dispatches");
        check("https://github.com/acme/fleet.git", "https://api.github.com/repos/acme/fleet/dispatches");
        check("https://github.com/acme/fleet/", "https://api.github.com/repos/acme/fleet/dispatches");
        check("https://ghe.example:8443/a/b", "https://ghe.example:8443/api/v3/repos/a/b/dispatches");
        let api = "https://api.github.com/repos/acme/fleet/dispatches";
        check(api, api);
        check("https://proxy.example/x/y/z/dispatches", "https://proxy.example/x/y/z/dispatches");
    }

    #[test]
    fn long_event_types_are_cut_and_stay_apart() {
        let of = |name: &str| {
            event_type(&Pipeline {
                api_version: String::new(),
                namespace: "default".into(),
                name: name.into(),
                uid: None,
            })
        };
        assert_eq!(of("podinfo"), "Pipeline/podinfo.default");
        assert_eq!(of(&"a".repeat(83)).len(), 100);
        let [first, second] = ["x", "y"].map(|last| of(&format!("{}{last}", "a".repeat(200))));
        assert_eq!((first.len(), second.len()), (100, 100));
        assert_ne!(first, second);
    }
}
