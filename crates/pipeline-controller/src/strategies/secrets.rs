//! The Secrets that a strategy names.

use pipeline_api::normalized::Strategy;
use pipeline_secrets::SecretValues;

/// The Secrets that a strategy names, as they are now.
#[derive(Debug, Default)]
pub struct Secrets {
    /// `secretRef`.
    pub credentials: Option<SecretValues>,
    /// `certSecretRef`.
    pub certificates: Option<SecretValues>,
    /// `proxySecretRef`.
    pub proxy: Option<SecretValues>,
}

/// The names of `secretRef`, `certSecretRef` and `proxySecretRef`. Pure.
pub fn names(strategy: &Strategy) -> [Option<&str>; 3] {
    match strategy {
        Strategy::PullRequest(pull_request) => [Some(&pull_request.secret), None, None],
        Strategy::Webhook(webhook) => {
            [&webhook.secret, &webhook.cert_secret, &webhook.proxy_secret].map(Option::as_deref)
        }
        Strategy::Notification => [None; 3],
    }
}

impl Secrets {
    /// From what was found under [`names`], in that order.
    pub fn new(found: impl IntoIterator<Item = Option<SecretValues>>) -> Self {
        let mut found = found.into_iter();
        let mut next = || found.next().flatten();
        Self { credentials: next(), certificates: next(), proxy: next() }
    }

    /// Changes whenever one of them does.
    pub(crate) fn version(&self) -> Option<String> {
        let all = [&self.credentials, &self.certificates, &self.proxy].into_iter().flatten();
        version(all.filter_map(|secret| secret.resource_version.clone()))
    }
}

/// The versions of several Secrets as one.
pub(crate) fn version(versions: impl Iterator<Item = String>) -> Option<String> {
    let versions: Vec<String> = versions.collect();
    (!versions.is_empty()).then(|| versions.join(","))
}
