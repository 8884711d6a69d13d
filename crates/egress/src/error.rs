use std::{fmt, io, net::IpAddr, time::Duration};

use url::Url;

use crate::guard::Denied;

/// Why a client could not be made, or a call failed. An answer with an error status is not an [`Error`].
///
/// Messages name scheme, host and port of the URL that was called (`peer`), never its path or query, because these may
/// be secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A CA bundle that cannot be used; nothing was trusted because of it.
    #[error("{whose} CA bundle cannot be used: {problem}")]
    Ca {
        /// "the operator's" or "the identity's".
        whose: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A client certificate or its key that cannot be used.
    #[error("the client certificate cannot be used")]
    ClientCertificate {
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// A proxy that cannot be used.
    #[error("the proxy {peer} cannot be used: {problem}")]
    Proxy {
        /// Scheme, host and port of the proxy.
        peer: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// TLS could not be set up from the platform's roots, the CA bundles and the client certificate.
    #[error("TLS cannot be set up")]
    Tls {
        /// What is wrong.
        #[source]
        source: Cause,
    },
    /// A URL that is never called.
    #[error("{peer} is not called: {problem}")]
    Url {
        /// Scheme, host and port.
        peer: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A host whose address is not called, by [`Guard`](crate::Guard). Nothing was sent.
    #[error("{peer} is not called: {address} is {why}; only the operator can allow it, with --egress-allow")]
    Denied {
        /// Scheme, host and port, or those of the proxy.
        peer: String,
        /// The address.
        address: IpAddr,
        /// What the address is.
        why: &'static str,
    },
    /// The [`Gate`](crate::Gate) is shut. Nothing was sent.
    #[error("{peer} is not called: this process may not call anybody now")]
    Shut {
        /// Scheme, host and port.
        peer: String,
    },
    /// A request that is no valid HTTP, or whose body could not be read.
    #[error("the request to {peer} cannot be sent")]
    Request {
        /// Scheme, host and port.
        peer: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection: name lookup, TCP, proxy or TLS failed. The request did not arrive.
    #[error("cannot connect to {peer}")]
    Connect {
        /// Scheme, host and port, and those of the proxy if there is one.
        peer: String,
        /// What failed.
        #[source]
        source: Cause,
    },
    /// The connection broke after it was made. The request may have had its effect.
    #[error("the connection to {peer} broke")]
    Broken {
        /// Scheme, host and port.
        peer: String,
        /// What failed.
        #[source]
        source: Cause,
    },
    /// [`Limits::deadline`](crate::Limits::deadline) passed. The request may have had its effect.
    #[error("{peer} did not answer in full within {deadline:?}")]
    Deadline {
        /// Scheme, host and port.
        peer: String,
        /// The deadline that passed.
        deadline: Duration,
    },
    /// The answer is longer than [`Limits::body`](crate::Limits::body). The request had its effect.
    #[error("the answer of {peer} is longer than {limit} bytes")]
    TooLong {
        /// Scheme, host and port.
        peer: String,
        /// The limit in bytes.
        limit: u64,
    },
}

/// What a caller does with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing before a person has changed something.
    Never,
    /// Try again, with the caller's back-off.
    Later,
    /// Try again after this time.
    After(Duration),
}

impl Error {
    /// What to do about the error. An unreachable or misbehaving peer may recover by itself; settings do not.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Ca { .. }
            | Self::ClientCertificate { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::Url { .. }
            | Self::Denied { .. }
            | Self::Request { .. }
            | Self::TooLong { .. } => Retry::Never,
            Self::Shut { .. } | Self::Connect { .. } | Self::Broken { .. } | Self::Deadline { .. } => Retry::Later,
        }
    }

    pub(crate) fn denied(peer: String, denied: Denied) -> Self {
        Self::Denied { peer, address: denied.address, why: denied.why }
    }

    pub(crate) fn from_reqwest(error: reqwest::Error, peer: &str, deadline: Duration) -> Self {
        let peer = peer.to_owned();
        if let Some(denied) = denied(&error) {
            Self::denied(peer, denied)
        } else if error.is_connect() {
            Self::Connect { peer, source: error.into() }
        } else if error.is_timeout() {
            Self::Deadline { peer, deadline }
        } else if error.is_builder() {
            Self::Request { peer, source: Box::new(Cause::from(error)) }
        } else {
            Self::Broken { peer, source: error.into() }
        }
    }
}

fn denied(error: &reqwest::Error) -> Option<Denied> {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if let Some(denied) = cause.downcast_ref::<Denied>() {
            return Some(*denied);
        }
        cause = cause.source()?;
    }
}

/// The innermost reason of a failure in the HTTP stack, such as "Connection refused", without the layers around it.
pub struct Cause(Reason);

enum Reason {
    Http(reqwest::Error),
    Io(io::Error),
}

impl From<reqwest::Error> for Cause {
    fn from(error: reqwest::Error) -> Self {
        Self(Reason::Http(error.without_url()))
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self(Reason::Io(error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut innermost: &dyn std::error::Error = match &self.0 {
            Reason::Http(error) => error,
            Reason::Io(error) => error,
        };
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        fmt::Display::fmt(innermost, f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Http(error) => fmt::Debug::fmt(error, f),
            Reason::Io(error) => fmt::Debug::fmt(error, f),
        }
    }
}

impl std::error::Error for Cause {}

/// Scheme, host and port of `url`: what may be shown of it. Without a host even the scheme may be a secret, as in
/// `user:password@proxy:3128`.
pub(crate) fn peer(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (None | Some(""), _) => "a URL without a host".to_owned(),
        (Some(host), None) => format!("{}://{host}", url.scheme()),
        (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
    }
}
