use std::fmt;

use egress::{Identity, Proxy};
use http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use crate::{Error, SecretValues, headers};

/// The longest `address` or `proxy`, in bytes, as in
/// [Flux](https://fluxcd.io/flux/components/notification/providers/#address).
const MAX_URL: usize = 2048;

/// What a Secret holds for a webhook; every part is optional.
#[derive(Clone)]
pub struct WebhookCredentials {
    /// The http or https URL to call, which wins over the one in the Pipeline. Its path and query may be secrets.
    pub address: Option<Url>,
    /// The proxy to call through.
    pub proxy: Option<Proxy>,
    /// The key that signs events; never sent.
    pub token: Option<SecretString>,
    /// Headers to send, by name; the values are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A PEM bundle that is trusted instead of the platform's roots.
    pub ca: Option<Vec<u8>>,
}

impl WebhookCredentials {
    /// The identity under which the webhook is called.
    pub fn identity(&self) -> Identity {
        Identity { ca: self.ca.clone(), proxy: self.proxy.clone(), ..Identity::default() }
    }
}

impl fmt::Debug for WebhookCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookCredentials")
            .field("address", &self.address.as_ref().map(|url| url.origin().ascii_serialization()))
            .field("proxy", &self.proxy)
            .field("token", &self.token)
            .field("headers", &self.headers)
            .field("ca", &self.ca.is_some())
            .finish()
    }
}

pub(crate) fn parse(secret: &SecretValues) -> Result<WebhookCredentials, Error> {
    let address = match url(secret, "address")? {
        Some(url) => Some(check_address(secret, url)?),
        None => None,
    };
    let proxy = match url(secret, "proxy")? {
        Some(url) => Some(Proxy::new(url).map_err(|error| match error {
            egress::Error::Proxy { problem, .. } => secret.key("proxy", format!("cannot be used: {problem}")),
            _ => secret.key("proxy", "cannot be used"),
        })?),
        None => None,
    };
    let token = secret.line("token", str::trim)?.map(SecretString::from);
    let headers = match secret.text("headers")? {
        Some(yaml) => Some(headers::parse(yaml).map_err(|problem| secret.key("headers", problem))?),
        None => None,
    };
    let ca = secret.ca()?;
    if address.is_none() && proxy.is_none() && token.is_none() && headers.is_none() && ca.is_none() {
        let wanted = "one of `address`, `proxy`, `token`, `headers` and `ca.crt`";
        return Err(Error::NoCredentials { secret: secret.secret(), wanted });
    }
    Ok(WebhookCredentials { address, proxy, token, headers: headers.unwrap_or_default(), ca })
}

fn url(secret: &SecretValues, key: &'static str) -> Result<Option<Url>, Error> {
    let Some(text) = secret.line(key, str::trim)? else {
        return Ok(None);
    };
    if text.len() > MAX_URL {
        return Err(secret.key(key, format!("is longer than {MAX_URL} bytes")));
    }
    Url::parse(text).map(Some).map_err(|error| secret.key(key, format!("is not a URL: {error}")))
}

fn check_address(secret: &SecretValues, url: Url) -> Result<Url, Error> {
    let problem = if !matches!(url.scheme(), "https" | "http") {
        "is not an https URL"
    } else if !url.username().is_empty() || url.password().is_some() {
        "has a user name or password before the host; use an `Authorization` header under `headers`"
    } else {
        return Ok(url);
    };
    Err(secret.key("address", problem))
}
