use std::fmt;

use egress::{ClientCertificate, Identity, Proxy};
use http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use crate::{Error, SecretValues, address, headers, proxy};

/// What a Secret holds for a webhook; every part is optional.
#[derive(Clone)]
pub struct WebhookCredentials {
    /// The http or https URL to call, which wins over the one in the Pipeline. Its path and query may be secrets.
    pub address: Option<Url>,
    /// The proxy to call through.
    pub proxy: Option<Proxy>,
    /// The key that signs events; never sent.
    pub token: Option<SecretString>,
    /// The key that `token` replaces: while there is one, events are signed with both, and reports taken with either.
    pub previous_token: Option<SecretString>,
    /// Headers to send, by name; the values are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A PEM bundle that is trusted instead of the platform's roots.
    pub ca: Option<Vec<u8>>,
    /// The certificate that is shown to a receiver that asks for one.
    pub client_certificate: Option<ClientCertificate>,
}

impl WebhookCredentials {
    /// The identity under which the webhook is called.
    pub fn identity(&self) -> Identity {
        Identity { ca: self.ca.clone(), client_certificate: self.client_certificate.clone(), proxy: self.proxy.clone() }
    }
}

impl fmt::Debug for WebhookCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookCredentials")
            .field("address", &self.address.as_ref().map(|url| url.origin().ascii_serialization()))
            .field("proxy", &self.proxy)
            .field("token", &self.token)
            .field("previous_token", &self.previous_token)
            .field("headers", &self.headers)
            .field("ca", &self.ca.is_some())
            .field("client_certificate", &self.client_certificate.is_some())
            .finish()
    }
}

pub(crate) fn parse(secret: &SecretValues) -> Result<WebhookCredentials, Error> {
    let address = match secret.line("address", str::trim)? {
        Some(text) => Some(address::of_webhook(text).map_err(|problem| secret.key("address", problem))?),
        None => None,
    };
    let proxy = proxy::at(secret, "proxy")?;
    let token = secret.line("token", str::trim)?.map(SecretString::from);
    let previous_token = secret.line("token.previous", str::trim)?.map(SecretString::from);
    if previous_token.is_some() && token.is_none() {
        return Err(secret.key("token", "is missing; `token.previous` is the key that it replaces"));
    }
    let headers = match secret.text("headers")? {
        Some(yaml) => Some(headers::parse(yaml).map_err(|problem| secret.key("headers", problem))?),
        None => None,
    };
    let (ca, client_certificate) = (secret.ca()?, secret.client_certificate()?);
    let nothing = address.is_none() && proxy.is_none() && token.is_none() && headers.is_none();
    if nothing && ca.is_none() && client_certificate.is_none() {
        let wanted = "one of `address`, `proxy`, `token`, `headers`, `ca.crt` and `tls.crt`";
        return Err(Error::NoCredentials { secret: secret.secret(), wanted });
    }
    Ok(WebhookCredentials {
        address,
        proxy,
        token,
        previous_token,
        headers: headers.unwrap_or_default(),
        ca,
        client_certificate,
    })
}
