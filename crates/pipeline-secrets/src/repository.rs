use std::fmt;

use egress::Identity;
use secrecy::SecretString;

use crate::{Error, SecretValues};

/// What a Secret holds for a git repository and its host's API: a `token`, a `password`, or both.
#[derive(Clone)]
pub struct RepositoryCredentials {
    /// The user name for git. Absent with a `token` alone: each host has its own conventional name then.
    pub username: Option<String>,
    /// The password for git.
    pub password: Option<SecretString>,
    /// The token for the host's API, and for git where there is no password. Printable ASCII without blanks.
    pub token: Option<SecretString>,
    /// A PEM bundle that is trusted instead of the platform's roots.
    pub ca: Option<Vec<u8>>,
}

impl RepositoryCredentials {
    /// The identity under which the repository and its host are called.
    pub fn identity(&self) -> Identity {
        Identity { ca: self.ca.clone(), ..Identity::default() }
    }
}

impl fmt::Debug for RepositoryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryCredentials")
            .field("username", &self.username)
            .field("password", &self.password)
            .field("token", &self.token)
            .field("ca", &self.ca.is_some())
            .finish()
    }
}

pub(crate) fn parse(secret: &SecretValues) -> Result<RepositoryCredentials, Error> {
    let username = secret.line("username", str::trim)?;
    let password = secret.line("password", |text| text.trim_matches(['\r', '\n']))?;
    let token = secret.line("token", str::trim)?;

    if username.is_some_and(|name| name.contains(':')) {
        return Err(secret.key("username", "holds a colon, which basic authentication cannot carry"));
    }
    if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(secret.key("token", "is not printable ASCII without blanks, as a token is"));
    }
    if password.is_some() && username.is_none() {
        return Err(secret.key("username", "is missing; `password` needs it"));
    }
    if password.is_none() && token.is_none() {
        return Err(Error::NoCredentials { secret: secret.secret(), wanted: "`token`, or `username` and `password`" });
    }
    Ok(RepositoryCredentials {
        username: username.map(ToOwned::to_owned),
        password: password.map(SecretString::from),
        token: token.map(SecretString::from),
        ca: secret.ca()?,
    })
}
