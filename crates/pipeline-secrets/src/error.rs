use std::time::Duration;

use egress::Retry;

/// Why a Secret gives no credentials. Messages name the Secret (`namespace/name`) and its key, never a value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret does not exist.
    #[error("Secret {secret} does not exist")]
    Missing {
        /// `namespace/name`.
        secret: String,
    },
    /// The API server does not let us read the Secret.
    #[error("Secret {secret} may not be read: {message}")]
    Forbidden {
        /// `namespace/name`.
        secret: String,
        /// What the API server says.
        message: String,
    },
    /// The API server answers with another error.
    #[error("Secret {secret} was not read: {message}")]
    Refused {
        /// `namespace/name`.
        secret: String,
        /// What the API server says.
        message: String,
    },
    /// The API server cannot be reached, or its answer cannot be read.
    #[error("Secret {secret} was not read")]
    Unreachable {
        /// `namespace/name`.
        secret: String,
        /// What failed.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server does not answer in time.
    #[error("Secret {secret} was not read within {deadline:?}")]
    Deadline {
        /// `namespace/name`.
        secret: String,
        /// The time that passed.
        deadline: Duration,
    },
    /// No Secret can have this name or namespace.
    #[error("{secret:?} is not the namespace and name of a Secret")]
    Name {
        /// `namespace/name`.
        secret: String,
    },
    /// A key whose value cannot be used.
    #[error("Secret {secret}: key `{key}` {problem}")]
    Key {
        /// `namespace/name`.
        secret: String,
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// None of the keys that are needed is there.
    #[error("Secret {secret} has no credentials: it needs {wanted}")]
    NoCredentials {
        /// `namespace/name`.
        secret: String,
        /// The keys that would do.
        wanted: &'static str,
    },
}

impl Error {
    /// Whether the Secret does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// What to do about the error. [`Retry::Never`] holds until the Secret or who names it changes; a Secret that is
    /// missing or forbidden may be on its way.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Missing { .. }
            | Self::Forbidden { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Deadline { .. } => Retry::Later,
            Self::Name { .. } | Self::Key { .. } | Self::NoCredentials { .. } => Retry::Never,
        }
    }

    pub(crate) fn from_kube(error: kube::Error, secret: String) -> Self {
        match error {
            kube::Error::Api(status) if status.is_not_found() => Self::Missing { secret },
            kube::Error::Api(status) if status.is_forbidden() => Self::Forbidden { secret, message: status.message },
            kube::Error::Api(status) => Self::Refused { secret, message: status.message },
            // The text of such an error may quote the value that it stumbled over.
            kube::Error::SerdeError(_) => Self::Refused { secret, message: "the answer is not a Secret".to_owned() },
            error => Self::Unreachable { secret, source: Box::new(error) },
        }
    }
}
