#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod gate;
mod guard;

mod calls;
mod client;
mod system;

mod body;
mod error;
mod identity;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use ipnet::IpNet;
use tokio::net::TcpStream;
use url::Url;

use self::{
    calls::Watch,
    client::Parts,
    guard::{Lookup, Resolver, Unresolved},
    system::SystemProxy,
};

pub use self::{
    body::Body,
    calls::{Call, Observer, Outcome},
    client::{Client, Limits},
    error::{Cause, Error, Retry},
    gate::Gate,
    guard::Guard,
    identity::{ClientCertificate, Identity, Proxy},
};

/// Clients kept for reuse, and with them their connection pools; the one used longest ago goes first.
const MAX_CLIENTS: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_CONNECTIONS_PER_HOST: usize = 4;

/// What the operator allows, the same for every client.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which addresses may be called, by every client and by [`Egress::connect`].
    pub guard: Guard,
    /// Whether `http://` URLs may be called. The address of a proxy may be http in any case.
    pub allow_http: bool,
    /// A PEM bundle that is trusted by every client, beside the platform's roots or an identity's own CA.
    pub extra_ca: Option<Vec<u8>>,
    /// Whether identities without a proxy use the one that the process' environment names
    /// (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`). It is the operator's: its address may be any, and it decides
    /// which addresses the names that it is asked for lead to.
    pub system_proxy: bool,
    /// Whether anybody may be called now; none: always.
    pub gate: Option<Gate>,
    /// The `User-Agent` of requests that bring none.
    pub user_agent: String,
    /// Who is told how each call ended, by every client and by [`Egress::connect`].
    pub observer: Option<Arc<dyn Observer>>,
}

impl Default for Policy {
    /// https only, to any address that is not refused by itself, the platform's roots, no proxy.
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            allow_http: false,
            extra_ca: None,
            system_proxy: false,
            gate: None,
            user_agent: concat!("pipeline-controller/", env!("CARGO_PKG_VERSION")).to_owned(),
            observer: None,
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
    resolver: Resolver,
    system_proxy: Option<Arc<SystemProxy>>,
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
        Ok(Self::with_lookup(policy, extra_ca, Lookup::System))
    }

    fn with_lookup(policy: Policy, extra_ca: Vec<reqwest::Certificate>, lookup: Lookup) -> Self {
        let resolver = Resolver { guard: Arc::new(policy.guard.clone()), lookup };
        let system_proxy = if policy.system_proxy { SystemProxy::read().map(Arc::new) } else { None };
        Self { shared: Arc::new(Shared { policy, extra_ca, resolver, system_proxy, clients: Mutex::default() }) }
    }

    /// The client of `identity`, with [`Limits::default`]. The same identity gets the same connection pool again.
    ///
    /// # Errors
    /// [`Error::Ca`], [`Error::ClientCertificate`] or [`Error::Proxy`] if a part of the identity cannot be used;
    /// [`Error::Denied`] if its proxy is an address that is not called; [`Error::Tls`] if TLS cannot be set up at all, as on a machine without any root certificates.
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
    /// [`Error::Url`] that says what is wrong with it, or [`Error::Denied`] if its host is an address that is not called. A
    /// name is looked up when it is called, and not before.
    pub fn check(&self, url: &Url) -> Result<(), Error> {
        client::check(url, self.shared.policy.allow_http, &self.shared.resolver.guard)
    }

    /// Whether [`Policy::gate`] is open: for requests over what [`Egress::connect`] connected, each time.
    ///
    /// # Errors
    /// [`Error::Shut`] that names `peer` if it is not.
    pub fn may_call(&self, peer: &str) -> Result<(), Error> {
        client::may_call(self.shared.policy.gate.as_ref(), || peer.to_owned())
    }

    /// The addresses of `host`, a name or an address, that may be connected to: at least one. For protocols other than HTTP;
    /// connect to these and do not look the name up again, or use [`Egress::connect`].
    ///
    /// # Errors
    /// [`Error::Denied`] if all its addresses are refused; [`Error::Connect`] if it has none, or within ten seconds none is found.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let peer = || format!("{host}:{port}");
        let resolved = tokio::time::timeout(CONNECT_TIMEOUT, self.shared.resolver.resolve(host)).await;
        match resolved {
            Ok(Ok(addresses)) => Ok(addresses.into_iter().map(|address| (address, port).into()).collect()),
            Ok(Err(Unresolved::Denied(denied))) => Err(Error::denied(peer(), denied)),
            Ok(Err(Unresolved::Failed(error))) => Err(Error::Connect { peer: peer(), source: error.into() }),
            Err(_elapsed) => Err(Error::Connect { peer: peer(), source: slow("the name was not looked up").into() }),
        }
    }

    /// A TCP connection to `host`, a name or an address, from [`Egress::resolve`]: the first of its addresses that answers,
    /// within ten seconds each time. No proxy is used. What is sent over it has to be bounded by the caller.
    ///
    /// # Errors
    /// As [`Egress::resolve`] and [`Egress::may_call`], and [`Error::Connect`] if no address answers.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let watch = Watch::start(self.shared.policy.observer.as_ref());
        let connected = async {
            self.may_call(&format!("{host}:{port}"))?;
            let addresses = self.resolve(host, port).await?;
            let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addresses.as_slice()));
            let connected = connect.await.unwrap_or_else(|_elapsed| Err(slow("nothing answered")));
            connected.map_err(|error| Error::Connect { peer: format!("{host}:{port}"), source: error.into() })
        };
        let connected = connected.await;
        watch.end(&format!("{host}:{port}"), Outcome::of(connected.as_ref().map(|_| None)));
        connected
    }
}

fn slow(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, format!("{what} within {CONNECT_TIMEOUT:?}"))
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
        let parts = |direct, system, via| Parts {
            direct,
            system,
            via,
            allow_http: self.policy.allow_http,
            guard: Arc::clone(&self.resolver.guard),
            gate: self.policy.gate.clone(),
            observer: self.policy.observer.clone(),
        };
        if let Some(proxy) = &identity.proxy {
            let via = error::peer(&proxy.url);
            let host = proxy.url.host_str().unwrap_or_default();
            self.resolver.guard.check_literal(host).map_err(|denied| Error::denied(via.clone(), denied))?;
            let builder = self.guarded(identity)?.no_proxy().proxy(proxy.to_reqwest()?);
            return Ok(Client::new(parts(finish(builder)?, None, Some(via))));
        }
        let direct = finish(self.guarded(identity)?.no_proxy())?;
        let system = match &self.system_proxy {
            Some(system) => Some((Arc::clone(system), finish(self.builder(identity)?)?)),
            None => None,
        };
        Ok(Client::new(parts(direct, system, None)))
    }

    fn guarded(&self, identity: &Identity) -> Result<reqwest::ClientBuilder, Error> {
        Ok(self.builder(identity)?.dns_resolver(self.resolver.clone()))
    }

    fn builder(&self, identity: &Identity) -> Result<reqwest::ClientBuilder, Error> {
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
        Ok(builder)
    }
}

fn finish(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Error> {
    builder.build().map_err(|error| Error::Tls { source: Cause::from(error) })
}

#[cfg(test)]
mod tests;
