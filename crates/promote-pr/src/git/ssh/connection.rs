//! One connection to one server, from TCP to authentication.

use std::borrow::Cow;
use std::io;
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, AuthResult, DisconnectReason, Handle};
use russh::keys::ssh_key::{Algorithm, HashAlg};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Channel, Disconnect, MethodSet, Preferred, cipher, kex};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Endpoint;
use super::host_key::Expected;
use crate::git::Error;

/// From the first byte to the end of authentication.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence after which the server is asked whether it is still there, and after which it is given up.
const KEEPALIVE: Duration = Duration::from_secs(15);
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// What the server may send before we have read it, in bytes: a fourth of this costs a third of the speed at 50 ms.
const WINDOW: u32 = 8 << 20;
/// How long a server may take to take note of our going.
const FAREWELL: Duration = Duration::from_secs(1);

/// An authenticated connection. It ends when this is dropped.
pub(super) struct Connection {
    handle: Handle<Handler>,
    end: End,
    _hang_up: HangUp,
}

impl Connection {
    /// Connects, checks the server's key and authenticates.
    pub(super) async fn open(endpoint: &Endpoint, action: &'static str) -> Result<Self, Error> {
        let keys = endpoint.keys()?;
        let refuse = |problem| Error::HostKey { url: endpoint.url.clone(), problem };
        let expected = keys.known_hosts.expect(&endpoint.host, endpoint.port).map_err(refuse)?;
        let no_connection = |text: &str| endpoint.no_connection(action, text);
        let stream = endpoint.connections.egress.connect(&endpoint.host, endpoint.port).await;
        let stream = stream.map_err(|source| Error::Network { url: endpoint.url.clone(), action, source })?;
        let (stream, hang_up) = prepare(stream).map_err(|error| no_connection(&error.to_string()))?;
        let handshake = async {
            let end = End::default();
            let config = Arc::new(config(&expected));
            let types = type_names(&expected);
            let handler = Handler { expected, end: end.clone(), _at_end: end.reached.clone().drop_guard() };
            let handle = client::connect_stream(config, stream, handler).await.map_err(|failure| match failure {
                Failure::HostKey(problem) => refuse(problem),
                Failure::Ssh(russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. }) => {
                    refuse(format!("it has no key of a type that known_hosts has for it: {types}"))
                }
                Failure::Ssh(error) => no_connection(&end.reason().unwrap_or_else(|| error.to_string())),
            })?;
            let mut connection = Self { handle, end, _hang_up: hang_up };
            connection.authenticate(endpoint, &keys, action).await?;
            Ok(connection)
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake)
            .await
            .map_err(|_elapsed| no_connection(&format!("the handshake took more than {HANDSHAKE_TIMEOUT:?}")))?
    }

    async fn authenticate(
        &mut self,
        endpoint: &Endpoint,
        keys: &super::Keys,
        action: &'static str,
    ) -> Result<(), Error> {
        let refused = |text| Error::KeyRefused { url: endpoint.url.clone(), user: endpoint.user.clone(), text };
        let no_connection = |error: &russh::Error| endpoint.no_connection(action, &error.to_string());
        let mut methods = MethodSet::empty();
        for hash in self.hashes(keys.private.algorithm()).await.map_err(|error| no_connection(&error))? {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(&keys.private), hash);
            let answer = self.handle.authenticate_publickey(&endpoint.user, key).await;
            match answer {
                Ok(AuthResult::Success) => return Ok(()),
                // A connection that is lost meanwhile looks like a refusal.
                _ if self.handle.is_closed() => {
                    self.end.reached.cancelled().await;
                    let why = self.end.reason().unwrap_or_else(|| "it was closed during authentication".to_owned());
                    return Err(endpoint.no_connection(action, &why));
                }
                Ok(AuthResult::Failure { partial_success: true, .. }) => {
                    return Err(refused("it asks for more than a key".to_owned()));
                }
                Ok(AuthResult::Failure { remaining_methods, .. }) => methods = remaining_methods,
                Err(error) => return Err(no_connection(&error)),
            }
        }
        let methods: Vec<String> = methods.iter().map(|method| <&str>::from(method).to_owned()).collect();
        Err(refused(format!("it takes {}", methods.join(", "))))
    }

    /// The hashes to sign with, in the order in which to try them. A server may announce SHA-512 and then not allow it.
    async fn hashes(&self, algorithm: Algorithm) -> Result<Vec<Option<HashAlg>>, russh::Error> {
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            return Ok(vec![None]);
        }
        Ok(match self.handle.best_supported_rsa_hash().await? {
            Some(Some(HashAlg::Sha256)) => vec![Some(HashAlg::Sha256)],
            _ => vec![Some(HashAlg::Sha512), Some(HashAlg::Sha256)],
        })
    }

    /// Has the server run `command`, with git's protocol version 2 if it lets us ask for that.
    pub(super) async fn run(&self, command: &str) -> Result<Channel<client::Msg>, russh::Error> {
        let channel = self.handle.channel_open_session().await?;
        channel.set_env(false, "GIT_PROTOCOL", "version=2").await?;
        channel.exec(true, command).await?;
        Ok(channel)
    }

    /// Waits until the server has read all that was sent.
    pub(super) async fn ping(&self) -> Result<(), russh::Error> {
        self.handle.send_ping().await
    }

    /// Becomes cancelled when the connection ends, however that happens: waiting for a channel may not tell.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.end.reached
    }

    /// Why the connection ended, if it did.
    pub(super) fn lost_because(&self) -> Option<String> {
        self.end.reason()
    }

    /// Ends the connection as the protocol wants it.
    pub(super) async fn close(self) {
        let farewell = async {
            if self.handle.disconnect(Disconnect::ByApplication, "", "").await.is_ok() {
                self.end.reached.cancelled().await;
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("an SSH server did not take note of our going");
        }
    }
}

fn prepare(stream: TcpStream) -> io::Result<(TcpStream, HangUp)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let hang_up = HangUp(stream.try_clone()?);
    Ok((TcpStream::from_std(stream)?, hang_up))
}

/// Shuts the socket down when it is dropped: russh goes on with a key exchange that nobody waits for.
struct HangUp(StdTcpStream);

impl Drop for HangUp {
    fn drop(&mut self) {
        // It fails when the connection has ended already.
        drop(self.0.shutdown(Shutdown::Both));
    }
}

/// The end of a connection. Clones are of the same one.
#[derive(Clone, Default)]
struct End {
    reached: CancellationToken,
    reason: Arc<Mutex<Option<String>>>,
}

impl End {
    fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What russh calls back. It lives as long as the connection does.
struct Handler {
    expected: Expected,
    end: End,
    _at_end: DropGuard,
}

/// Why a handshake failed.
#[derive(Debug)]
enum Failure {
    HostKey(String),
    Ssh(russh::Error),
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl client::Handler for Handler {
    type Error = Failure;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        #[expect(clippy::disallowed_methods, reason = "certificates are valid for a time")]
        let now = jiff::Timestamp::now().as_second();
        self.expected.check(presented, u64::try_from(now).unwrap_or_default()).map_err(Failure::HostKey)?;
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Failure>) -> Result<(), Failure> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                (format!("the server ended it: {:?}: {}", info.reason_code, info.message), Ok(()))
            }
            DisconnectReason::Error(Failure::Ssh(error)) => (error.to_string(), Err(Failure::Ssh(error))),
            DisconnectReason::Error(Failure::HostKey(problem)) => (problem.clone(), Err(Failure::HostKey(problem))),
        };
        *self.end.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        result
    }
}

/// Only host keys that can be verified are offered; what russh leaves out by default and servers under FIPS rules need
/// is added.
fn config(expected: &Expected) -> client::Config {
    let mut preferred = Preferred::DEFAULT;
    preferred.key = Cow::Owned(expected.key_algorithms());
    preferred.host_key_certificates = Cow::Owned(expected.certificate_algorithms());
    // Before the names that are no key exchanges but extensions, such as the one for strict key exchange.
    let mut exchanges = preferred.kex.to_vec();
    let place = exchanges.iter().position(|name| *name == kex::DH_GEX_SHA256).unwrap_or_default();
    exchanges.splice(place..place, [kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521]);
    preferred.kex = Cow::Owned(exchanges);
    let mut ciphers = preferred.cipher.to_vec();
    let place = ciphers.iter().position(|name| *name == cipher::AES_256_GCM).map_or(0, |place| place.saturating_add(1));
    ciphers.insert(place, cipher::AES_128_GCM);
    preferred.cipher = Cow::Owned(ciphers);
    client::Config {
        preferred,
        nodelay: true,
        window_size: WINDOW,
        inactivity_timeout: Some(MAX_SILENCE),
        keepalive_interval: Some(KEEPALIVE),
        ..client::Config::default()
    }
}

fn type_names(expected: &Expected) -> String {
    let mut names: Vec<_> = expected.keys.iter().map(|(key, _)| key.algorithm().to_string()).collect();
    names.dedup();
    if names.is_empty() { "certificates".to_owned() } else { names.join(", ") }
}
