//! Who may send events and approvals of an environment.

use kube::ResourceExt;
use pipeline_api::Pipeline;
use pipeline_secrets::Error;
use promote_webhook::Keys;
use secrecy::ExposeSecret as _;

use super::Endpoints;
use crate::causes::explain;

/// Who may speak of an environment.
#[derive(Debug)]
pub(super) enum Signer {
    /// Whoever signs with one of these.
    Holder(Keys),
    /// No Secret is named.
    Unnamed,
    /// There is no such Pipeline, or the Secret that it names is of no use.
    Nobody,
}

impl Signer {
    pub(super) fn keys(&self) -> Option<&Keys> {
        match self {
            Self::Holder(keys) => Some(keys),
            Self::Unnamed | Self::Nobody => None,
        }
    }
}

impl Endpoints {
    /// Who may speak of `environment`.
    ///
    /// # Errors
    /// The Secret cannot be read now.
    pub(super) async fn signer(&self, pipeline: Option<&Pipeline>, environment: &str) -> Result<Signer, Error> {
        let Some(pipeline) = pipeline else { return Ok(Signer::Nobody) };
        let Some(name) = pipeline.hmac_secret(environment) else { return Ok(Signer::Unnamed) };
        let namespace = pipeline.namespace().unwrap_or_default();
        let secret = pipeline_secrets::read(self.client.clone(), &namespace, name).await;
        match secret.and_then(|secret| secret.hmac_key()) {
            Ok(key) => {
                // Files end with a line break, which whoever signs may have left out.
                let trimmed = key.expose_secret().trim();
                let current = trimmed.into();
                Ok(Signer::Holder(Keys { current, previous: (trimmed != key.expose_secret()).then_some(key) }))
            }
            Err(error @ (Error::Unreachable { .. } | Error::Deadline { .. } | Error::Refused { .. })) => Err(error),
            Err(error) => {
                let name = pipeline.name_any();
                let why = explain(&error);
                tracing::warn!(pipeline.namespace = namespace, pipeline.name = name, "events have no key: {why}");
                Ok(Signer::Nobody)
            }
        }
    }
}
