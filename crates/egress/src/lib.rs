#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod body;
mod client;
mod error;
mod identity;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use url::Url;

pub use self::{
    body::Body,
    client::{Client, Limits},
    error::{Cause, Error, Retry},
    identity::{ClientCertificate, Identity, Proxy},
};

/// Clients kept for reuse, and with them their connection pools; the one used longest ago goes first.
const MAX_CLIENTS: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_CONNECTIONS_PER_HOST: usize = 4;

/// What the operator allows, the same for every client.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether `http://` URLs may be called. The address of a proxy may be http in any case.
    pub allow_http: bool,
    /// A PEM bundle that is trusted by every client, beside the platform's roots or an identity's own CA.
    pub extra_ca: Option<Vec<u8>>,
    /// Whether identities without a proxy use the one that the process' environment names
    /// (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    pub system_proxy: bool,
    /// The `User-Agent` of requests that bring none.
    pub user_agent: String,
}

impl Default for Policy {
    /// https only, the platform's roots, no proxy.
    fn default() -> Self {
        Self {
            allow_http: false,
            extra_ca: None,
            system_proxy: false,
            user_agent: concat!("pipeline-controller/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Makes clients that obey one [`Policy`], and keeps them for reuse. Clones share the clients.
#[derive(Clone)]
pub struct Egress {
    shared: Arc<Shared>,
}

struct Shared {
    policy: Policy,
    extra_ca: Vec<reqwest::Certificate>,
    /// In the order of their last use.
    clients: Mutex<Vec<(Identity, Client)>>,
}

impl Egress {
    /// Checks the policy. No client is made and no file is read yet.
    ///
    /// # Errors
    /// [`Error::Ca`] if [`Policy::extra_ca`] holds no certificate or a broken one.
    pub fn new(policy: Policy) -> Result<Self, Error> {
        let extra_ca = match &policy.extra_ca {
            Some(pem) => identity::certificates(pem, "the operator's")?,
            None => Vec::new(),
        };
        Ok(Self { shared: Arc::new(Shared { policy, extra_ca, clients: Mutex::new(Vec::new()) }) })
    }

    /// The client of `identity`, with [`Limits::default`]. The same identity gets the same connection pool again.
    ///
    /// # Errors
    /// [`Error::Ca`], [`Error::ClientCertificate`] or [`Error::Proxy`] if a part of the identity cannot be used;
    /// [`Error::Tls`] if TLS cannot be set up at all, as on a machine without any root certificates.
    pub fn client(&self, identity: &Identity) -> Result<Client, Error> {
        if let Some(client) = self.shared.cached(identity) {
            return Ok(client);
        }
        let client = self.shared.build(identity)?;
        self.shared.keep(identity, &client);
        Ok(client)
    }

    /// Whether a client would call `url`, as far as that can be told without calling it.
    ///
    /// # Errors
    /// [`Error::Url`] that says what is wrong with it.
    pub fn check(&self, url: &Url) -> Result<(), Error> {
        client::check(url, self.shared.policy.allow_http)
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}

impl Shared {
    fn cached(&self, identity: &Identity) -> Option<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let position = clients.iter().position(|(known, _)| known == identity)?;
        let entry = clients.remove(position);
        let client = entry.1.clone();
        clients.push(entry);
        Some(client)
    }

    fn keep(&self, identity: &Identity, client: &Client) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS {
            clients.remove(0);
        }
        clients.push((identity.clone(), client.clone()));
    }

    fn build(&self, identity: &Identity) -> Result<Client, Error> {
        #[expect(clippy::disallowed_methods, reason = "the one place where HTTP clients are made")]
        let mut builder = reqwest::Client::builder()
            .https_only(!self.policy.allow_http)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(&self.policy.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST);
        builder = match &identity.ca {
            Some(pem) => {
                let own = identity::certificates(pem, "the identity's")?;
                builder.tls_certs_only(own.into_iter().chain(self.extra_ca.iter().cloned()))
            }
            None => builder.tls_certs_merge(self.extra_ca.iter().cloned()),
        };
        if let Some(certificate) = &identity.client_certificate {
            builder = builder.identity(certificate.to_reqwest()?);
        }
        let mut via = None;
        match &identity.proxy {
            Some(proxy) => {
                builder = builder.proxy(proxy.to_reqwest()?);
                via = Some(error::peer(&proxy.url));
            }
            None if !self.policy.system_proxy => builder = builder.no_proxy(),
            None => {}
        }
        let http = builder.build().map_err(|error| Error::Tls { source: Cause::from(error) })?;
        Ok(Client::new(http, self.policy.allow_http, via))
    }
}

#[cfg(test)]
mod tests;
