use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    Delivery, Error,
    event::{CONTROLLER, rfc3339},
    sign,
};

const EVENT_TYPE: &str = "works.weave.pipelines.promotion.v1";

/// What CloudEvents wants
/// [encoded](https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values)
/// in headers.
const CLOUD_EVENTS: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The request of one attempt at `now`.
pub(crate) fn build(delivery: &Delivery, now: Timestamp) -> Result<Request<Bytes>, Error> {
    let event = &delivery.event;
    let body = event.body().map_err(invalid)?;
    let id = event.promotion_id.to_string();

    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(delivery.headers.iter().cloned());
    headers.insert("gotk-component", HeaderValue::from_static(CONTROLLER));
    headers.insert("webhook-timestamp", HeaderValue::from(now.as_second()));
    let mut set = |name: &'static str, value: &str| -> Result<(), Error> {
        let value = HeaderValue::from_str(value).map_err(invalid)?;
        headers.insert(name, value);
        Ok(())
    };
    set("webhook-id", &id)?;
    set("ce-specversion", "1.0")?;
    set("ce-id", &id)?;
    set("ce-type", EVENT_TYPE)?;
    set("ce-source", &utf8_percent_encode(&event.pipeline.path(), CLOUD_EVENTS).to_string())?;
    set("ce-time", &rfc3339(event.timestamp))?;
    if let Some(token) = &delivery.token {
        set("webhook-signature", &sign::standard(token, &id, now.as_second(), &body)?)?;
        let signature = sign::flux(token, &body);
        set("x-signature", &signature)?;
        set("x-hub-signature-256", &signature)?;
    }

    let mut request = Request::post(delivery.url.as_str()).body(body).map_err(invalid)?;
    *request.headers_mut() = headers;
    Ok(request)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Request { source: Box::new(error) }
}
