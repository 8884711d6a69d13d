//! How the bytes of a conversation travel: over HTTP or SSH.

use std::sync::Arc;

use gix_transport::client::blocking_io::Transport;
use gix_transport::client::blocking_io::http::Transport as HttpTransport;
use gix_transport::{Protocol, Service};

use super::Error;
use super::error::Cause;
use super::http::Bridge;
use super::link::{Access, Link};
use super::operation::Operation;
use super::ssh::Stream;

/// The connection under git's transport, which knows better than git why a conversation failed.
pub(super) enum Wire {
    Http(Bridge),
    Ssh(Stream),
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

    /// Why the conversation failed, if the connection is the reason.
    pub(super) fn take_failure(&self) -> Option<Error> {
        match self {
            Self::Http(bridge) => bridge.take_failure(),
            Self::Ssh(stream) => stream.take_failure(),
        }
    }
}
