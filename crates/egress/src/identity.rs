use std::fmt;

use percent_encoding::percent_decode_str;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use url::Url;

use crate::error::{Cause, Error, peer};

/// As whom, through what and trusting whom a client calls. Equal identities share connections, others never do.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// A PEM bundle that is trusted instead of the platform's roots.
    ///
    /// As Flux' `certSecretRef` does: <https://fluxcd.io/flux/components/notification/providers/#tls-authentication>.
    pub ca: Option<Vec<u8>>,
    /// The certificate that the client shows if the server asks for one.
    pub client_certificate: Option<ClientCertificate>,
    /// The proxy that all calls go through.
    pub proxy: Option<Proxy>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("ca", &self.ca.as_ref().map(|pem| format!("{} bytes", pem.len())))
            .field("client_certificate", &self.client_certificate)
            .field("proxy", &self.proxy)
            .finish()
    }
}

/// A client certificate (mutual TLS).
#[derive(Clone)]
pub struct ClientCertificate {
    /// PEM: the certificate, then its chain.
    pub certificate: Vec<u8>,
    /// PEM: the private key (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key: SecretString,
}

impl ClientCertificate {
    pub(crate) fn to_reqwest(&self) -> Result<reqwest::Identity, Error> {
        let mut pem = Zeroizing::new(self.certificate.clone());
        pem.push(b'\n');
        pem.extend_from_slice(self.key.expose_secret().as_bytes());
        reqwest::Identity::from_pem(&pem).map_err(|error| Error::ClientCertificate { source: Cause::from(error) })
    }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.key.expose_secret() == other.key.expose_secret()
    }
}

impl Eq for ClientCertificate {}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// An http, https, socks5 or socks5h proxy.
#[derive(Clone)]
pub struct Proxy {
    /// Its address, without user info.
    pub url: Url,
    /// The user name for basic authentication.
    pub username: Option<String>,
    /// The password for basic authentication.
    pub password: Option<SecretString>,
}

impl Proxy {
    /// A proxy from an address that may carry `user:password@`, percent-encoded.
    ///
    /// # Errors
    /// [`Error::Proxy`] if the address is no http, https, socks5 or socks5h URL with a host, or its user info is not
    /// UTF-8.
    pub fn new(mut url: Url) -> Result<Self, Error> {
        let decode = |text: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(_) => Err(Error::Proxy { peer: peer(&url), problem: "its user info is not UTF-8" }),
        };
        let username = match url.username() {
            "" => None,
            username => Some(decode(username)?),
        };
        let password = url.password().map(decode).transpose()?.map(SecretString::from);
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        if cleared.is_err() && (username.is_some() || password.is_some()) {
            return Err(Error::Proxy { peer: peer(&url), problem: "it has no host" });
        }
        let proxy = Self { url, username, password };
        proxy.to_reqwest()?;
        Ok(proxy)
    }

    pub(crate) fn to_reqwest(&self) -> Result<reqwest::Proxy, Error> {
        let refuse = |problem| Error::Proxy { peer: peer(&self.url), problem };
        if !matches!(self.url.scheme(), "http" | "https" | "socks5" | "socks5h") {
            return Err(refuse("its scheme is none of http, https, socks5, socks5h"));
        }
        if self.url.host_str().is_none_or(str::is_empty) {
            return Err(refuse("it has no host"));
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return Err(refuse("user name and password belong in their own fields"));
        }
        let proxy = reqwest::Proxy::all(self.url.clone()).map_err(|_ignored| refuse("its address is not valid"))?;
        Ok(match (&self.username, &self.password) {
            (None, None) => proxy,
            (username, password) => proxy.basic_auth(
                username.as_deref().unwrap_or_default(),
                password.as_ref().map_or("", |password| password.expose_secret()),
            ),
        })
    }
}

impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        let [ours, theirs] = [self, other].map(|proxy| proxy.password.as_ref().map(|secret| secret.expose_secret()));
        self.url == other.url && self.username == other.username && ours == theirs
    }
}

impl Eq for Proxy {}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("url", &peer(&self.url))
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "[REDACTED]"))
            .finish()
    }
}

/// The certificates of a PEM bundle, each of them one that TLS can use.
///
/// Garbage, which a PEM reader takes for an empty bundle, is refused: trusting nothing is never what was meant.
pub(crate) fn certificates(pem: &[u8], whose: &'static str) -> Result<Vec<reqwest::Certificate>, Error> {
    let refuse = |problem: String| Error::Ca { whose, problem };
    let mut certificates = Vec::new();
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let number = index + 1;
        let certificate = certificate.map_err(|error| refuse(format!("certificate {number}: {error}")))?;
        let usable = reqwest::Certificate::from_der(&certificate)
            .map_err(|error| refuse(format!("certificate {number}: {}", Cause::from(error))))?;
        roots.add(certificate).map_err(|error| refuse(format!("certificate {number}: {error}")))?;
        certificates.push(usable);
    }
    if certificates.is_empty() {
        return Err(refuse("it holds no PEM certificate".to_owned()));
    }
    Ok(certificates)
}
