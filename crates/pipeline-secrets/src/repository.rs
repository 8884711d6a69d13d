use std::fmt;

use egress::{ClientCertificate, Identity};
use secrecy::SecretString;
use url::Url;

use crate::{Error, SecretValues};

/// What a Secret holds for a git repository and its host's API: any of a `token`, a `password` and an SSH `identity`.
#[derive(Clone)]
pub struct RepositoryCredentials {
    /// The user name for git. Absent with a `token` alone: each host has its own conventional name then.
    pub username: Option<String>,
    /// The password for git.
    pub password: Option<SecretString>,
    /// The token for the host's API, and for git over https where there is no password. Printable ASCII without blanks.
    pub token: Option<SecretString>,
    /// The GitHub App whose tokens take the place of `token`.
    pub app: Option<GitHubAppCredentials>,
    /// What commits are signed with.
    pub signing: Option<SigningCredentials>,
    /// The private key for git over SSH, and what goes with it.
    pub ssh: Option<SshCredentials>,
    /// A PEM bundle that is trusted instead of the platform's roots.
    pub ca: Option<Vec<u8>>,
    /// The certificate that is shown to servers that ask for one.
    pub client_certificate: Option<ClientCertificate>,
}

/// A GitHub App, under the keys that [Flux](https://fluxcd.io/flux/components/source/gitrepositories/#github) uses.
#[derive(Clone, Debug)]
pub struct GitHubAppCredentials {
    /// `githubAppID`: its id or client id.
    pub id: String,
    /// Where it is installed.
    pub installation: GitHubInstallation,
    /// `githubAppPrivateKey`: its RSA private key, in PEM.
    pub private_key: SecretString,
    /// `githubAppBaseURL`: the API of a GitHub Enterprise Server.
    pub base_url: Option<Url>,
}

/// An installation of a GitHub App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitHubInstallation {
    /// `githubAppInstallationID`
    Id(u64),
    /// `githubAppInstallationOwner`: the organization or person whose account it is on.
    Owner(String),
}

/// A private key that signs commits.
#[derive(Clone, Debug)]
pub struct SigningCredentials {
    /// An OpenSSH private key or an armored OpenPGP private key, as text.
    pub key: SecretString,
    /// What opens an encrypted key.
    pub passphrase: Option<SecretString>,
}

/// A private key and the servers that it is for, under the keys that
/// [Flux](https://fluxcd.io/flux/components/source/gitrepositories/#ssh-authentication) uses.
#[derive(Clone)]
pub struct SshCredentials {
    /// `identity`: the private key as text.
    pub identity: SecretString,
    /// `known_hosts`: the servers' keys, as in OpenSSH's file.
    pub known_hosts: String,
    /// `password`: what decrypts the private key, if it is encrypted.
    pub passphrase: Option<SecretString>,
}

impl fmt::Debug for SshCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshCredentials").field("passphrase", &self.passphrase.is_some()).finish_non_exhaustive()
    }
}

impl RepositoryCredentials {
    /// The identity under which the repository and its host are called.
    pub fn identity(&self) -> Identity {
        Identity { ca: self.ca.clone(), client_certificate: self.client_certificate.clone(), proxy: None }
    }
}

impl fmt::Debug for RepositoryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryCredentials")
            .field("username", &self.username)
            .field("password", &self.password)
            .field("token", &self.token)
            .field("app", &self.app)
            .field("signing", &self.signing)
            .field("ssh", &self.ssh)
            .field("ca", &self.ca.is_some())
            .field("client_certificate", &self.client_certificate.is_some())
            .finish()
    }
}

impl SecretValues {
    /// The key `webhook-secret`: what the repository's host signs its webhooks with.
    ///
    /// # Errors
    /// [`Error::Key`] if it cannot be used.
    pub fn webhook_secret(&self) -> Result<Option<SecretString>, Error> {
        Ok(self.line("webhook-secret", str::trim)?.map(SecretString::from))
    }
}

pub(crate) fn parse(secret: &SecretValues) -> Result<RepositoryCredentials, Error> {
    let username = secret.line("username", str::trim)?;
    let password = secret.line("password", |text| text.trim_matches(['\r', '\n']))?;
    let token = match secret.line("token", str::trim)? {
        Some(token) => Some(token),
        None => secret.line("bearerToken", str::trim)?,
    };

    if username.is_some_and(|name| name.contains(':')) {
        return Err(secret.key("username", "holds a colon, which basic authentication cannot carry"));
    }
    if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(secret.key("token", "is not printable ASCII without blanks, as a token is"));
    }
    let ssh = ssh(secret, password)?;
    let app = github_app(secret)?;
    if password.is_some() && username.is_none() && ssh.is_none() {
        return Err(
            secret.key("username", "is missing; `password` needs it, unless it is the passphrase of `identity`")
        );
    }
    if password.is_none() && token.is_none() && ssh.is_none() && app.is_none() {
        let wanted = "`token`, or `username` and `password`, or `identity` and `known_hosts`, or `githubAppID`";
        return Err(Error::NoCredentials { secret: secret.secret(), wanted });
    }
    // Without a user name it is a passphrase and nothing else.
    let password = password.filter(|_| username.is_some());
    Ok(RepositoryCredentials {
        username: username.map(ToOwned::to_owned),
        password: password.map(SecretString::from),
        token: token.map(SecretString::from),
        app,
        signing: signing(secret)?,
        ssh,
        ca: secret.ca()?,
        client_certificate: secret.client_certificate()?,
    })
}

fn github_app(secret: &SecretValues) -> Result<Option<GitHubAppCredentials>, Error> {
    const KEY: &str = "githubAppPrivateKey";
    let Some(id) = secret.line("githubAppID", str::trim)? else {
        return Ok(None);
    };
    let id_of = |text: &str| text.parse().map_err(|_invalid| secret.key("githubAppInstallationID", "is not a number"));
    let installation = match secret.line("githubAppInstallationID", str::trim)? {
        Some(text) => GitHubInstallation::Id(id_of(text)?),
        None => match secret.line("githubAppInstallationOwner", str::trim)? {
            Some(owner) => GitHubInstallation::Owner(owner.to_owned()),
            None => {
                let problem = "is missing, and so is `githubAppInstallationOwner`; `githubAppID` needs one of them";
                return Err(secret.key("githubAppInstallationID", problem));
            }
        },
    };
    let private_key = secret.text(KEY)?.ok_or_else(|| secret.key(KEY, "is missing; `githubAppID` needs it"))?;
    if !private_key.contains("PRIVATE KEY-----") {
        return Err(secret.key(KEY, "holds no private key: it begins with a line like -----BEGIN RSA PRIVATE KEY-----"));
    }
    let base_url = secret.line("githubAppBaseURL", str::trim)?.map(str::parse::<Url>).transpose();
    let base_url = base_url.map_err(|error| secret.key("githubAppBaseURL", format!("is no URL: {error}")))?;
    let (id, private_key) = (id.to_owned(), SecretString::from(private_key.trim()));
    Ok(Some(GitHubAppCredentials { id, installation, private_key, base_url }))
}

/// The keys of Flux' [image automation](https://fluxcd.io/flux/components/image/imageupdateautomations/#signing-key) are
/// taken too.
fn signing(secret: &SecretValues) -> Result<Option<SigningCredentials>, Error> {
    const OWN: [&str; 2] = ["signing-key", "signing-passphrase"];
    const FLUX: [&str; 2] = ["git.asc", "passphrase"];
    for [key, passphrase] in [OWN, FLUX] {
        let Some(text) = secret.text(key)? else { continue };
        if !["-----BEGIN OPENSSH PRIVATE KEY-----", "-----BEGIN PGP PRIVATE KEY BLOCK-----"]
            .iter()
            .any(|begin| text.trim_start().starts_with(begin))
        {
            return Err(secret.key(key, "is neither an OpenSSH private key nor an armored OpenPGP private key"));
        }
        let passphrase = secret.text(passphrase)?.map(|text| text.trim_matches(['\r', '\n']));
        return Ok(Some(SigningCredentials {
            key: SecretString::from(text),
            passphrase: passphrase.map(SecretString::from),
        }));
    }
    Ok(None)
}

fn ssh(secret: &SecretValues, password: Option<&str>) -> Result<Option<SshCredentials>, Error> {
    let Some(identity) = secret.text("identity")? else {
        return Ok(None);
    };
    if !identity.contains("PRIVATE KEY-----") {
        return Err(secret
            .key("identity", "holds no private key: it begins with a line like -----BEGIN OPENSSH PRIVATE KEY-----"));
    }
    let Some(known_hosts) = secret.text("known_hosts")? else {
        return Err(secret.key("known_hosts", "is missing; `identity` needs it, as no server is trusted on first use"));
    };
    Ok(Some(SshCredentials {
        identity: SecretString::from(identity),
        known_hosts: known_hosts.to_owned(),
        passphrase: password.map(SecretString::from),
    }))
}
