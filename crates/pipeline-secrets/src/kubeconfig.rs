use crate::{Error, SecretValues};

/// Cluster API and Flux write the first, Flux also reads the second, the first pipeline-controller read the third.
const KEYS: [&str; 3] = ["value", "value.yaml", "kubeconfig"];

pub(crate) fn find(secret: &SecretValues) -> Result<(&'static str, &str), Error> {
    for key in KEYS {
        if let Some(text) = secret.text(key)? {
            return Ok((key, text));
        }
    }
    Err(Error::NoCredentials {
        secret: secret.secret(),
        wanted: "a kubeconfig under `value`, `value.yaml` or `kubeconfig`",
    })
}
