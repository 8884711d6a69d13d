//! How the bytes of a conversation travel: over HTTP or SSH.

use std::sync::Arc;

use gix_transport::client::blocking_io::Transport;
use gix_transport::client::blocking_io::http::Transport as HttpTransport;
use gix_transport::{Protocol, Service};

use super::error::Cause;
use super::http::Bridge;
use super::link::{Access, Link};
use super::operation::Operation;
use super::ssh::Stream;
use super::{Error, Limits};

/// The connection under git's transport, which knows better than git why a conversation failed.
pub(super) enum Wire {
    Http(Bridge),
    Ssh(Stream),
}

/// What comes next from the server, which decides how long it may be.
#[derive(Clone, Copy)]
pub(super) enum Expected {
    Listing,
    Pack,
}

impl Expected {
    /// The most bytes of it.
    pub(super) fn limit(self, limits: &Limits) -> u64 {
        match self {
            Self::Listing => limits.listing,
            Self::Pack => limits.pack,
        }
    }

    /// It is longer than that.
    pub(super) fn too_long(self, link: &Link) -> Error {
        let (what, name) = match self {
            Self::Listing => ("the list of refs", "listing"),
            Self::Pack => ("the length of a pack", "pack"),
        };
        Error::Limit { url: link.url.clone(), what, name, limit: self.limit(&link.limits), path: String::new() }
    }
}

impl Wire {
    pub(super) fn open(
        link: &Arc<Link>,
        operation: &Arc<Operation>,
        service: Service,
        action: &'static str,
    ) -> Result<(Box<dyn Transport>, Self), Error> {
        match &link.access {
            Access::Http(http) => {
                let url = gix::url::parse(link.url.as_str()).map_err(|error| Error::Protocol {
                    url: link.url.clone(),
                    action,
                    source: Cause(error.to_string()),
                })?;
                let bridge = Bridge::new(link, http, operation, action);
                let transport = HttpTransport::new_http(bridge.clone(), url, Protocol::V2, false);
                Ok((Box::new(transport), Self::Http(bridge)))
            }
            Access::Ssh(endpoint) => {
                let (transport, stream) = endpoint.open(link, operation, service, action)?;
                Ok((transport, Self::Ssh(stream)))
            }
        }
    }

    /// Lets what comes next be as long as a pack may be.
    pub(super) fn expect_pack(&self) {
        match self {
            Self::Http(bridge) => bridge.expect_pack(),
            Self::Ssh(stream) => stream.expect_pack(),
        }
    }

    /// Whether what the server can do was not asked for, but is what it said in an earlier conversation.
    pub(super) fn is_remembered(&self) -> bool {
        match self {
            Self::Http(bridge) => bridge.is_remembered(),
            Self::Ssh(_) => false,
        }
    }

    /// Why the conversation failed, if the connection is the reason.
    pub(super) fn take_failure(&self) -> Option<Error> {
        match self {
            Self::Http(bridge) => bridge.take_failure(),
            Self::Ssh(stream) => stream.take_failure(),
        }
    }
}
