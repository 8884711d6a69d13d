#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod repository;
mod webhook;

mod address;
mod headers;
mod kubeconfig;
mod proxy;
mod tls;

mod error;

use std::{collections::BTreeMap, fmt, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString, zeroize::Zeroizing};

pub use self::{
    error::Error,
    repository::{GitHubAppCredentials, GitHubInstallation, RepositoryCredentials, SigningCredentials, SshCredentials},
    tls::Certificates,
    webhook::WebhookCredentials,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// The data of one Secret, wiped from memory on drop. Neither it nor what is made of it can be serialised:
///
/// ```compile_fail,E0277
/// fn serialize<T: serde::Serialize>() {}
/// serialize::<pipeline_secrets::SecretValues>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialize<T: serde::Serialize>() {}
/// serialize::<pipeline_secrets::RepositoryCredentials>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialize<T: serde::Serialize>() {}
/// serialize::<pipeline_secrets::WebhookCredentials>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialize<T: serde::Serialize>() {}
/// serialize::<pipeline_secrets::Certificates>();
/// ```
pub struct SecretValues {
    /// The namespace that the Secret is in.
    pub namespace: String,
    /// The name of the Secret.
    pub name: String,
    /// Changes whenever the Secret does; absent when it was not read from a cluster.
    pub resource_version: Option<String>,
    values: BTreeMap<String, SecretSlice<u8>>,
}

/// Reads one Secret with one `get`, within ten seconds.
///
/// # Errors
/// [`Error::Missing`] and [`Error::Forbidden`] are told apart from other refusals ([`Error::Refused`]) and from an API
/// server that cannot be reached ([`Error::Unreachable`], [`Error::Deadline`]); [`Error::Name`] if no Secret could have
/// that name.
pub async fn read(client: kube::Client, namespace: &str, name: &str) -> Result<SecretValues, Error> {
    read_within(DEADLINE, client, namespace, name).await
}

async fn read_within(
    deadline: Duration,
    client: kube::Client,
    namespace: &str,
    name: &str,
) -> Result<SecretValues, Error> {
    let secret = format!("{namespace}/{name}");
    if !(is_object_name(namespace) && is_object_name(name)) {
        return Err(Error::Name { secret });
    }
    let api = Api::<Secret>::namespaced(client, namespace);
    match tokio::time::timeout(deadline, api.get(name)).await {
        Ok(Ok(object)) => Ok(SecretValues { namespace: namespace.into(), name: name.into(), ..own(object) }),
        Ok(Err(error)) => Err(Error::from_kube(error, secret)),
        Err(_elapsed) => Err(Error::Deadline { secret, deadline }),
    }
}

impl SecretValues {
    /// The values of a Secret that is at hand, as from a file: `data`, then `stringData` over it.
    pub fn from_secret(secret: &Secret) -> Self {
        own(secret.clone())
    }

    /// The credentials for a git repository and its host's API.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] if there is neither a `token` nor a `password` nor an `identity` nor a `githubAppID`; [`Error::Key`] if a key
    /// cannot be used.
    pub fn repository(&self) -> Result<RepositoryCredentials, Error> {
        repository::parse(self)
    }

    /// The credentials for a webhook.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] if there is none of the keys that a webhook knows; [`Error::Key`] if a key cannot be
    /// used.
    pub fn webhook(&self) -> Result<WebhookCredentials, Error> {
        webhook::parse(self)
    }

    /// The certificates of a Secret that holds nothing else, as `certSecretRef` names it.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] if there is neither a CA nor a client certificate; [`Error::Key`] if a key cannot be used, or
    /// one of `tls.crt` and `tls.key` is missing.
    pub fn certificates(&self) -> Result<Certificates, Error> {
        tls::parse(self)
    }

    /// The proxy of a Secret that holds nothing else, as `proxySecretRef` names it: `address`, `username` and `password`, the
    /// last two over those in the address.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] if there is no `address`; [`Error::Key`] if a key cannot be used.
    pub fn proxy(&self) -> Result<egress::Proxy, Error> {
        proxy::parse(self)
    }

    /// The key that signs what comes in, `hmac-key`, as it is: the first
    /// [pipeline-controller](https://github.com/weaveworks/pipeline-controller/blob/main/server/sign_verifier.go) and
    /// [Flux](https://fluxcd.io/flux/components/notification/providers/#generic-webhook-with-hmac), which signs with its
    /// `token`, trim neither.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] if it is not there; [`Error::Key`] if it is blank or no text.
    pub fn hmac_key(&self) -> Result<SecretString, Error> {
        let key = self.text("hmac-key")?.map(SecretString::from);
        key.ok_or_else(|| Error::NoCredentials { secret: self.secret(), wanted: "`hmac-key`" })
    }

    /// The kubeconfig of a cluster, as text, and the key that it stands under: the first of `value`, `value.yaml` and
    /// `kubeconfig` that is there. The first two are those of
    /// [Flux](https://fluxcd.io/flux/components/kustomize/kustomizations/#kubeconfig-remote-clusters). What the text says
    /// is not looked at.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] if none of the keys is there; [`Error::Key`] if the value is empty or no text.
    pub fn kubeconfig(&self) -> Result<(&'static str, &str), Error> {
        kubeconfig::find(self)
    }

    fn key(&self, key: &'static str, problem: impl Into<String>) -> Error {
        Error::Key { secret: self.secret(), key, problem: problem.into() }
    }

    fn secret(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The value of `key` as it is.
    fn text(&self, key: &'static str) -> Result<Option<&str>, Error> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        match std::str::from_utf8(value.expose_secret()) {
            Ok(text) if text.trim().is_empty() => Err(self.key(key, "is empty; fill it in or remove the key")),
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.key(key, "is not UTF-8 text")),
        }
    }

    /// The value of `key` on one line, without what `trim` cuts off.
    fn line(&self, key: &'static str, trim: fn(&str) -> &str) -> Result<Option<&str>, Error> {
        let Some(line) = self.text(key)?.map(trim) else {
            return Ok(None);
        };
        if line.contains(char::is_control) {
            return Err(self.key(key, "holds a line break or another control character"));
        }
        Ok(Some(line))
    }
}

impl fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretValues")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("resource_version", &self.resource_version)
            .field("keys", &self.values.keys())
            .finish()
    }
}

fn own(secret: Secret) -> SecretValues {
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    let string_data = secret.string_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    SecretValues {
        namespace: secret.metadata.namespace.unwrap_or_else(|| "default".to_owned()),
        name: secret.metadata.name.unwrap_or_default(),
        resource_version: secret.metadata.resource_version,
        values: data.chain(string_data).map(|(key, value)| (key, keep(value))).collect(),
    }
}

/// In memory of just its size, so that nothing is left behind where the bytes were before.
fn keep(value: Vec<u8>) -> SecretSlice<u8> {
    let value = Zeroizing::new(value);
    let exact: Box<[u8]> = value.as_slice().into();
    SecretSlice::from(exact)
}

/// Whether `name` can stand in a path: [RFC 1123 subdomain](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/).
fn is_object_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests;
