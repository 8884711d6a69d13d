//! Git over SSH, without an `ssh` program, an agent or anybody's configuration.
//!
//! The server proves who it is against the known hosts before it learns anything of us; then the private key is all that
//! is ever offered to it. One connection carries one conversation at a time, and waits for the next one for a while.

mod channel;
mod connection;
mod connections;
mod host_key;
mod key;
mod known_hosts;

use std::sync::Arc;

use gix_transport::client::blocking_io::Transport;
use gix_transport::client::git::ConnectMode;
use gix_transport::client::git::blocking_io::Connection as GitConnection;
use gix_transport::{Protocol, Service};
use percent_encoding::percent_decode_str;
use russh::keys::PrivateKey;
use secrecy::ExposeSecret as _;

use self::connection::Connection;
use self::known_hosts::KnownHosts;
use super::link::Link;
use super::operation::Operation;
use super::text::clean;
use super::{Error, Remote, SshIdentity};
use crate::names::RepoUrl;

pub(super) use self::channel::Stream;
pub(super) use self::connections::Connections;

/// One repository on one server, and who opens it.
pub(super) struct Endpoint {
    url: RepoUrl,
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    user: String,
    /// As the server's git takes it.
    path: String,
    identity: SshIdentity,
    connections: Arc<Connections>,
    /// Equal for equal URL and identity only.
    key: String,
}

/// The keys of an [`SshIdentity`], read.
struct Keys {
    private: Arc<PrivateKey>,
    known_hosts: KnownHosts,
}

impl Endpoint {
    /// # Errors
    /// [`Error::SshIdentity`] if there is none, or if the connection is to go through a proxy; the keys themselves are
    /// read when they are needed. [`Error::Protocol`] if the path would be taken for something else.
    pub(super) fn new(connections: &Arc<Connections>, remote: &Remote, key: &str) -> Result<Self, Error> {
        let url = remote.url.clone();
        let unfit = |problem: &str| Error::SshIdentity { url: url.clone(), problem: problem.to_owned() };
        let Some(identity) = remote.ssh.clone() else {
            return Err(unfit("there is no private key and no known_hosts"));
        };
        if remote.identity.proxy.is_some() {
            return Err(unfit("SSH does not go through a proxy"));
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        let text = url.as_url();
        let (Ok(user), Ok(path)) = (decode(text.username()), decode(text.path())) else {
            return Err(unfit("the user or the path in the URL is not UTF-8"));
        };
        // As git does, for a path in somebody's home: `ssh://git@host/~user/repo`.
        let path = path.strip_prefix('/').filter(|path| path.starts_with('~')).unwrap_or(&path).to_owned();
        if path.contains(char::is_control) || user.contains(char::is_control) {
            return Err(unfit("the user or the path in the URL holds a control character"));
        }
        Ok(Self {
            host: url.host().trim_matches(['[', ']']).to_owned(),
            port: text.port().unwrap_or(22),
            user: if user.is_empty() { "git".to_owned() } else { user },
            path,
            identity,
            connections: Arc::clone(connections),
            key: key.to_owned(),
            url,
        })
    }

    /// Runs the server's git for `service`, over a connection that waits or a new one.
    pub(super) fn open(
        &self,
        link: &Arc<Link>,
        operation: &Arc<Operation>,
        service: Service,
        action: &'static str,
    ) -> Result<(Box<dyn Transport>, Stream), Error> {
        self.may_call(action)?;
        let cancelled = || Error::Deadline { url: self.url.clone(), deadline: link.limits.deadline };
        let opened = operation.wait(async {
            let command = format!("{} {}", service.as_str(), gix::quote::single(self.path.as_str().into()));
            while let Some(connection) = self.connections.take(&self.key).await {
                // It may have been lost while nobody looked, and then another one will do.
                if let Ok(channel) = connection.run(&command).await {
                    return Ok((connection, channel));
                }
            }
            let connection = Connection::open(self, action).await?;
            let channel = connection.run(&command).await.map_err(|error| {
                let text = connection.lost_because().unwrap_or_else(|| error.to_string());
                self.no_connection(action, &text)
            })?;
            Ok((connection, channel))
        });
        let (connection, channel) = opened.ok_or_else(cancelled)??;
        let stream = Stream::new(link, operation, action, (connection, channel), (&self.connections, &self.key));
        let (reader, writer) = (stream.clone(), stream.clone());
        let virtual_host: Option<(String, Option<u16>)> = None;
        let path = self.path.as_str();
        let transport =
            GitConnection::new(reader, writer, Protocol::V2, path, virtual_host, ConnectMode::Process, false);
        Ok((Box::new(transport), stream))
    }

    /// Whether more may be sent over a connection that is there, by the operator's [`egress::Gate`].
    pub(super) fn may_call(&self, action: &'static str) -> Result<(), Error> {
        let may = self.connections.egress.may_call(&format!("{}:{}", self.host, self.port));
        may.map_err(|source| Error::Network { url: self.url.clone(), action, source })
    }

    /// The keys, which are read once for as long as the identity is in use.
    fn keys(&self) -> Result<Arc<Keys>, Error> {
        self.connections.keys(&self.key, || {
            let SshIdentity { private_key, passphrase, known_hosts } = &self.identity;
            let passphrase = passphrase.as_ref().map(|passphrase| passphrase.expose_secret());
            let read = || {
                let known_hosts = KnownHosts::parse(known_hosts)?;
                Ok(Keys { private: Arc::new(key::parse(private_key.expose_secret(), passphrase)?), known_hosts })
            };
            read().map_err(|problem| Error::SshIdentity { url: self.url.clone(), problem })
        })
    }

    fn no_connection(&self, action: &'static str, why: &str) -> Error {
        let source = super::error::Cause(clean(why.as_bytes(), &[]));
        Error::Connection { url: self.url.clone(), action, source }
    }
}

#[cfg(test)]
mod tests;
