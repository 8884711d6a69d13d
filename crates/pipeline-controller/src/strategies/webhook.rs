//! From a Pipeline to a webhook.

use egress::{Identity, Retry};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use pipeline_api::normalized::Webhook;
use pipeline_api::{Pipeline, WebhookFormat};
use pipeline_secrets::{SecretValues, WebhookCredentials};
use promote_webhook::{Delivery, Event, Format, Keys, deliver, schedule};
use uuid::Uuid;

use super::secrets::Secrets;
use super::{Strategies, refused};
use crate::causes::explain;
use crate::key;
use crate::outcome::{Done, Failure, Next};
use crate::plan::Effect;

/// Sends the promotion's event, once.
pub(super) async fn run(
    Strategies { egress, lanes, trace, .. }: &Strategies,
    pipeline: &Pipeline,
    effect: &Effect,
    spec: &Webhook,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Done, Failure> {
    let credentials = secrets
        .credentials
        .as_ref()
        .map(SecretValues::webhook)
        .transpose()
        .map_err(|error| refused(explain(&error), Next::Never))?;
    let identity = identity(credentials.as_ref(), secrets).map_err(|error| refused(explain(&error), Next::Never))?;
    let client = egress.client(&identity).map_err(|error| refused(explain(&error), Next::Never))?;
    let mut delivery = delivery(pipeline, effect, spec, credentials)?;
    if *trace && let Some(parent) = traceparent(pipeline, effect) {
        // In front of those of the Secret, which win.
        delivery.headers.insert(0, parent);
    }
    let Some(_place) = lanes.enter(&delivery.url).await else {
        return Err(refused("the receiver is busy with other promotions", Next::Turn));
    };
    match deliver(&client, &delivery, now).await {
        Ok(_) => Ok(Done::Delivered),
        Err(error) => Err(Failure {
            message: explain(&error),
            next: next(error.retry(), effect, delivery.event.promotion_id),
            nothing_matched: false,
        }),
    }
}

/// The promotion's trace, for the receiver to go on with.
fn traceparent(pipeline: &Pipeline, effect: &Effect) -> Option<(HeaderName, HeaderValue)> {
    let key = key::of(pipeline, &effect.environment, &effect.revision, effect.sequence);
    Some((HeaderName::from_static("traceparent"), HeaderValue::try_from(key.traceparent()).ok()?))
}

/// As whom the receiver is called: the Secrets that hold one thing alone win over the one that holds all.
fn identity(credentials: Option<&WebhookCredentials>, secrets: &Secrets) -> Result<Identity, pipeline_secrets::Error> {
    let mut identity = credentials.map(WebhookCredentials::identity).unwrap_or_default();
    if let Some(secret) = &secrets.certificates {
        let certificates = secret.certificates()?;
        identity = Identity {
            ca: certificates.ca,
            client_certificate: certificates.client_certificate,
            proxy: identity.proxy,
        };
    }
    if let Some(secret) = &secrets.proxy {
        identity.proxy = Some(secret.proxy()?);
    }
    Ok(identity)
}

/// The keys that sign events and reports; none if there is no token. Pure.
pub(crate) fn keys(credentials: &WebhookCredentials) -> Option<Keys> {
    let current = credentials.token.clone()?;
    Some(Keys { current, previous: credentials.previous_token.clone() })
}

fn format(format: WebhookFormat) -> Format {
    match format {
        WebhookFormat::Generic => Format::Generic,
        WebhookFormat::GitHubDispatch => Format::GitHubDispatch,
        WebhookFormat::CloudEvents => Format::CloudEvents,
    }
}

/// What promote-webhook is asked for. Pure.
///
/// # Errors
/// Neither the Pipeline nor its Secret says where to send the event.
pub fn delivery(
    pipeline: &Pipeline,
    effect: &Effect,
    spec: &Webhook,
    credentials: Option<WebhookCredentials>,
) -> Result<Delivery, Failure> {
    let key = key::of(pipeline, &effect.environment, &effect.revision, effect.sequence);
    let keys = credentials.as_ref().and_then(keys);
    let (address, headers) = match credentials {
        Some(credentials) => (credentials.address, credentials.headers),
        None => (None, Vec::new()),
    };
    let url = address.or_else(|| spec.url.clone());
    Ok(Delivery {
        url: url.ok_or_else(|| refused("webhook.url is not set, and the Secret has no key address", Next::Never))?,
        format: format(spec.format),
        keys,
        headers,
        timeout: spec.timeout,
        event: Event {
            promotion_id: key.id(),
            pipeline: promote_webhook::Pipeline {
                api_version: Pipeline::api_version(&()).into_owned(),
                namespace: key.namespace,
                name: key.pipeline,
                uid: pipeline.uid(),
            },
            environment: key.environment,
            source_environment: Some(effect.source_environment.clone()),
            version: key.revision,
            previous_version: effect.previous_revision.clone(),
            app_kind: pipeline.spec.app_ref.kind.clone(),
            app_name: pipeline.spec.app_ref.name.clone(),
            timestamp: effect.started,
        },
    })
}

fn next(retry: Retry, effect: &Effect, promotion: Uuid) -> Next {
    let attempt = effect.attempts.saturating_add(1);
    let retry_after = match retry {
        Retry::Never => return Next::Never,
        Retry::Later => None,
        Retry::After(delay) => Some(delay),
    };
    schedule::delay(attempt, jitter(promotion, attempt), retry_after).map_or(Next::Never, Next::After)
}

/// A number between -1 and 1 that is the promotion's own: retries of many promotions spread, and a plan stays repeatable.
fn jitter(promotion: Uuid, attempt: u32) -> f64 {
    let digest = Uuid::new_v5(&promotion, &attempt.to_be_bytes());
    let [first, second, ..] = digest.into_bytes();
    f64::from(u16::from_be_bytes([first, second])) / f64::from(u16::MAX) * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_spreads_over_its_range() {
        let values: Vec<f64> = (0..1000).map(|attempt| jitter(Uuid::nil(), attempt)).collect();
        assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
        let mean = values.iter().sum::<f64>() / 1000.0;
        assert!(mean.abs() < 0.1, "{mean}");
        assert!(values.iter().any(|value| *value < -0.9) && values.iter().any(|value| *value > 0.9));
    }
}
