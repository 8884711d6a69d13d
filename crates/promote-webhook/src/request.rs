use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    Delivery, Error, Event, Format,
    event::{CONTROLLER, rfc3339},
    format,
};

/// What CloudEvents wants
/// [encoded](https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values)
/// in headers.
const CLOUD_EVENTS: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The request of one attempt at `now`.
pub(crate) fn build(delivery: &Delivery, now: Timestamp) -> Result<Request<Bytes>, Error> {
    let event = &delivery.event;
    let body = format::body(delivery.format, event)?;
    let id = event.promotion_id.to_string();

    let mut headers = HeaderMap::new();
    for (name, text) in format::headers(delivery.format) {
        headers.insert(*name, HeaderValue::from_static(text));
    }
    for (name, value) in &delivery.headers {
        headers.insert(name, value.clone());
    }
    headers.insert("gotk-component", HeaderValue::from_static(CONTROLLER));
    headers.insert("webhook-timestamp", HeaderValue::from(now.as_second()));
    headers.insert("webhook-id", value(&id)?);
    if delivery.format == Format::Generic {
        for (name, text) in attributes(event) {
            headers.insert(name, value(&text)?);
        }
    }
    if let Some(keys) = &delivery.keys {
        headers.insert("webhook-signature", value(&keys.standard(&id, now.as_second(), &body)?)?);
        let signature = value(&keys.flux(&body))?;
        headers.insert("x-signature", signature.clone());
        headers.insert("x-hub-signature-256", signature);
    }

    let url = format::url(delivery.format, &delivery.url);
    let mut request = Request::post(url.as_str()).body(body).map_err(invalid)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The event as a CloudEvent in binary mode.
fn attributes(event: &Event) -> [(&'static str, String); 5] {
    [
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", event.promotion_id.to_string()),
        ("ce-type", format::EVENT_TYPE.to_owned()),
        ("ce-source", utf8_percent_encode(&event.pipeline.path(), CLOUD_EVENTS).to_string()),
        ("ce-time", rfc3339(event.timestamp)),
    ]
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(invalid)
}

pub(crate) fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Request { source: Box::new(error) }
}
