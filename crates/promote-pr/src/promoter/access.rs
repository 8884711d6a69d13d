//! How a promotion reaches its repository: by git, and through the host's API.

use egress::Client;
use secrecy::ExposeSecret as _;

use crate::error::Error;
use crate::git::Remote;
use crate::host::{Line, Provider};
use crate::request::{Credentials, Request};

use super::Promoter;

impl Promoter {
    pub(super) fn client(&self, credentials: &Credentials) -> Result<Client, Error> {
        Ok(self.egress.client(&credentials.identity)?.with_limits(self.options.api))
    }

    pub(super) async fn provider(&self, request: &Request, client: &Client) -> Result<Provider, Error> {
        let (given, repository) = (request.provider, &request.repository);
        let provider = self.providers.of(given, repository, request.api_url.as_ref(), client).await?;
        if let Some(observer) = &self.options.observer {
            observer.provider(&repository.host_and_port(), provider);
        }
        Ok(provider)
    }

    /// The credentials with a token of their GitHub App, if they have one.
    pub(super) async fn credentials(&self, request: &Request, given: &Credentials) -> Result<Credentials, Error> {
        let Some(app) = &given.app else {
            return Ok(given.clone());
        };
        let client = self.client(given)?;
        if self.provider(request, &client).await? != Provider::GitHub {
            return Err(Error::NoToken { host: request.repository.host().to_owned() });
        }
        let line = self.line(Provider::GitHub, client, request, given);
        let token = self.apps.token(app, &request.repository, &line).await?;
        Ok(Credentials { token: Some(token), username: None, password: None, ..given.clone() })
    }

    /// The way to the host's API, on the account of the credential there.
    pub(super) fn line(
        &self,
        provider: Provider,
        client: Client,
        request: &Request,
        credentials: &Credentials,
    ) -> Line {
        let origin = request.api_url.as_ref().unwrap_or(request.repository.as_url()).origin().ascii_serialization();
        let account = match (&credentials.app, credentials.token.as_ref().or(credentials.password.as_ref())) {
            // Its tokens change, its budget does not.
            (Some(app), _) => format!("{} {:?}", app.app_id, app.installation),
            (None, secret) => secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default(),
        };
        let account = self.accounts.account(provider, &origin, &account);
        Line::new(client, account, &format!("{}/{}", request.key.namespace, request.key.pipeline))
    }
}

/// How git opens the repository. A token alone goes with the user name that its provider wants.
pub(super) fn remote(request: &Request, provider: Option<Provider>, credentials: &Credentials) -> Remote {
    let password = credentials.password.clone().or_else(|| credentials.token.clone());
    let given = credentials.username.as_deref();
    let user = || provider.map_or(given.unwrap_or("git"), |provider| provider.git_user(given)).to_owned();
    let username = password.is_some().then(user);
    Remote {
        url: request.repository.clone(),
        identity: credentials.identity.clone(),
        username,
        password,
        ssh: credentials.ssh.clone(),
    }
}

/// What the host's API may see. Where git goes over SSH, a password may be the passphrase of its key.
pub(super) fn for_api(request: &Request, credentials: &Credentials) -> Credentials {
    let over_ssh = request.repository.as_url().scheme() == "ssh";
    Credentials { password: credentials.password.clone().filter(|_| !over_ssh), ssh: None, ..credentials.clone() }
}
