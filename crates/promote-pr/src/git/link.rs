//! Everything that is needed to talk to one repository as one user.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use egress::{Client, Egress};
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use super::http::Advertised;
use super::ssh::{Connections, Endpoint};
use super::{Error, Limits, Remote};
use crate::names::RepoUrl;

/// A remote that can be reached: its credentials are checked.
pub(super) struct Link {
    pub(super) url: RepoUrl,
    pub(super) access: Access,
    pub(super) limits: Limits,
    /// What the server said in earlier conversations.
    pub(super) advertised: Arc<Advertised>,
    /// What text of this server must not show.
    pub(super) secrets: Vec<SecretString>,
    /// Names what this user may see of this repository: equal for equal URL, credentials and identity only.
    pub(super) cache_key: String,
}

/// The way to a repository.
pub(super) enum Access {
    Http(Arc<HttpAccess>),
    Ssh(Endpoint),
}

/// A client, and what it says to be let in.
pub(super) struct HttpAccess {
    pub(super) client: Client,
    pub(super) authorization: Option<HeaderValue>,
}

impl Link {
    /// Whether a conversation that has begun may go on with what changes something. Over HTTPS each request is asked about anyway.
    pub(super) fn may_write(&self) -> Result<(), Error> {
        match &self.access {
            Access::Http(_) => Ok(()),
            Access::Ssh(endpoint) => endpoint.may_call("writing to the repository"),
        }
    }

    pub(super) fn new(
        egress: &Egress,
        connections: &Arc<Connections>,
        remote: &Remote,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let url = remote.url.clone();
        if url.as_url().scheme() == "ssh" {
            let cache_key = cache_key(remote, limits)?;
            let access = Access::Ssh(Endpoint::new(connections, remote, &cache_key)?);
            let (limits, advertised) = (limits.clone(), Arc::default());
            return Ok(Self { url, access, limits, advertised, secrets: Vec::new(), cache_key });
        }
        let network = |source| Error::Network { url: remote.url.clone(), action: "the connection", source };
        egress.check(url.as_url()).map_err(network)?;
        let client = egress.client(&remote.identity).map_err(network)?;

        let mut secrets = Vec::new();
        let authorization = match (&remote.username, &remote.password) {
            (None, None) => None,
            (username, password) => {
                let username = username.as_deref().unwrap_or_default();
                let password = password.as_ref().map(|password| password.expose_secret()).unwrap_or_default();
                check_credentials(&url, username, password)?;
                let basic = SecretString::from(STANDARD.encode(format!("{username}:{password}")));
                let mut value = HeaderValue::try_from(format!("Basic {}", basic.expose_secret()))
                    .map_err(|_invalid| Error::Credentials { url: url.clone(), reason: "they are too long" })?;
                value.set_sensitive(true);
                secrets.extend([basic, SecretString::from(password)]);
                Some(value)
            }
        };
        let access = Access::Http(Arc::new(HttpAccess { client, authorization }));
        let cache_key = cache_key(remote, limits)?;
        let (limits, advertised) = (limits.clone(), Arc::default());
        Ok(Self { url, access, limits, advertised, secrets, cache_key })
    }
}

fn check_credentials(url: &RepoUrl, username: &str, password: &str) -> Result<(), Error> {
    let reason = if username.contains(':') {
        "the user name contains a colon"
    } else if username.chars().chain(password.chars()).any(char::is_control) {
        "they contain a line break or another control character"
    } else if url.as_url().scheme() != "https" {
        return Err(Error::ClearText { url: url.clone() });
    } else {
        return Ok(());
    };
    Err(Error::Credentials { url: url.clone(), reason })
}

/// A hash over URL, credentials and identity, so that nobody reads through the cache what only others may fetch, and
/// over the length of files up to which the cache is complete.
fn cache_key(remote: &Remote, limits: &Limits) -> Result<String, Error> {
    let certificate = remote.identity.client_certificate.as_ref();
    let proxy = remote.identity.proxy.as_ref();
    let file = limits.file.to_be_bytes();
    let ssh = remote.ssh.as_ref();
    let parts = [
        Some(&file[..]),
        Some(remote.url.as_str().as_bytes()),
        remote.username.as_deref().map(str::as_bytes),
        remote.password.as_ref().map(|password| password.expose_secret().as_bytes()),
        remote.identity.ca.as_deref(),
        certificate.map(|certificate| certificate.certificate.as_slice()),
        certificate.map(|certificate| certificate.key.expose_secret().as_bytes()),
        proxy.map(|proxy| proxy.url.as_str().as_bytes()),
        proxy.and_then(|proxy| proxy.username.as_deref()).map(str::as_bytes),
        proxy.and_then(|proxy| proxy.password.as_ref()).map(|password| password.expose_secret().as_bytes()),
        ssh.map(|ssh| ssh.private_key.expose_secret().as_bytes()),
        ssh.and_then(|ssh| ssh.passphrase.as_ref()).map(|passphrase| passphrase.expose_secret().as_bytes()),
        ssh.map(|ssh| ssh.known_hosts.as_bytes()),
    ];
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    for part in parts {
        hasher.update(&part.map_or(u64::MAX, |part| u64::try_from(part.len()).unwrap_or_default()).to_be_bytes());
        hasher.update(part.unwrap_or_default());
    }
    let hash = hasher.try_finalize().map_err(|_collision| Error::Credentials {
        url: remote.url.clone(),
        reason: "their hash is a known collision",
    })?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use egress::{Identity, Policy};

    use super::*;

    fn link(url: &str, username: Option<&str>, password: Option<&str>) -> Result<Link, Error> {
        let egress = Egress::new(Policy { allow_http: true, ..Policy::default() }).unwrap();
        let remote = Remote {
            url: url.parse().unwrap(),
            identity: Identity::default(),
            username: username.map(str::to_owned),
            password: password.map(SecretString::from),
            ssh: None,
        };
        Link::new(&egress, &Arc::new(Connections::new(egress.clone())), &remote, &Limits::default())
    }

    #[test]
    fn credentials() {
        let basic = |link: Link| match link.access {
            Access::Http(http) => http.authorization.as_ref().map(|value| value.to_str().unwrap().to_owned()),
            Access::Ssh(_) => panic!("this is no SSH URL"),
        };
        let https = "https://host/o/n";
        assert_eq!(basic(link(https, None, None).unwrap()), None);
        assert_eq!(
            basic(link(https, Some("Aladdin"), Some("open sesame")).unwrap()).unwrap(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert!(matches!(link(https, Some("a:b"), Some("c")), Err(Error::Credentials { .. })));
        assert!(matches!(link(https, Some("a"), Some("c\n")), Err(Error::Credentials { .. })));
        assert!(matches!(link("http://host/o/n", Some("a"), Some("c")), Err(Error::ClearText { .. })));
        assert!(link("http://host/o/n", None, None).is_ok());
        let error = link("ssh://git@host/o/n", Some("a"), Some("c")).err();
        assert!(matches!(error, Some(Error::SshIdentity { .. } | Error::NoSsh { .. })), "{error:?}");
    }

    #[test]
    fn plain_http_is_refused_by_default() {
        let egress = Egress::new(Policy::default()).unwrap();
        let remote = Remote {
            url: "http://host/o/n".parse().unwrap(),
            identity: Identity::default(),
            username: None,
            password: None,
            ssh: None,
        };
        assert!(matches!(
            Link::new(&egress, &Arc::new(Connections::new(egress.clone())), &remote, &Limits::default()),
            Err(Error::Network { .. })
        ));
    }

    #[test]
    fn cache_keys_differ_by_url_user_and_identity() {
        let key = |url, username, password| link(url, username, password).unwrap().cache_key;
        let one = key("https://host/o/n", Some("a"), Some("b"));
        assert_eq!(one, key("https://host/o/n", Some("a"), Some("b")));
        assert_eq!(one.len(), 40);
        for other in [
            key("https://host/o/m", Some("a"), Some("b")),
            key("https://host/o/n", Some("ab"), Some("")),
            key("https://host/o/n", Some("ab"), None),
            key("https://host/o/n", Some("a"), Some("c")),
            key("https://host/o/n", None, None),
        ] {
            assert_ne!(one, other);
        }
    }
}
