//! Tokens for the [installations of GitHub Apps](https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use url::Url;

use crate::error::Error;
use crate::host::line::{Line, LineError};
use crate::host::wire::{self, Answer, Ask, Site};
use crate::names::RepoUrl;
use crate::request::{GitHubApp, Installation};

/// Tokens live for an hour; one that ends sooner than this is renewed. A promotion does not take as long.
const RENEW: Duration = Duration::from_secs(600);

/// A difference between the clocks that is not corrected, in seconds.
const SAME_TIME: i64 = 5;

/// The tokens that are in use.
#[derive(Default)]
pub(crate) struct Apps(Mutex<HashMap<Key, Arc<tokio::sync::Mutex<State>>>>);

/// API, App, installation and a hash of the private key.
type Key = (String, String, Installation, Vec<u8>);

#[derive(Default)]
struct State {
    token: Option<(SecretString, Instant)>,
    /// The host's clock minus ours, in seconds.
    skew: i64,
}

/// What an App says of itself: <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>
#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(Deserialize)]
struct Found {
    id: u64,
}

#[derive(Deserialize)]
struct Minted {
    token: String,
    expires_at: Timestamp,
}

impl Apps {
    /// A token of the App's installation that is good for ten minutes at least.
    ///
    /// # Errors
    ///
    /// [`Error::App`] says what is wrong with the App: its key, its id, or that it is not installed, removed or suspended.
    pub(crate) async fn token(
        &self,
        app: &GitHubApp,
        repository: &RepoUrl,
        line: &Line,
    ) -> Result<SecretString, Error> {
        let api = api_of(app, repository)?;
        let state = {
            let mut apps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(apps.entry(key(app, &api)).or_default())
        };
        // Who comes meanwhile waits for the same token.
        let mut state = state.lock().await;
        if let Some((token, ends)) = &state.token
            && *ends > Instant::now() + RENEW
        {
            return Ok(token.clone());
        }
        let minter = Minter { app, site: site(repository, &api), api: api.as_str().trim_end_matches('/'), line };
        let (token, lives) = minter.mint(&mut state.skew).await?;
        state.token = Some((token.clone(), Instant::now() + lives));
        Ok(token)
    }

    /// Forgets a token that the host does not accept any more.
    pub(crate) async fn forget(&self, app: &GitHubApp, repository: &RepoUrl, token: &SecretString) {
        let Ok(api) = api_of(app, repository) else { return };
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key(app, &api)).cloned();
        if let Some(state) = state {
            let mut state = state.lock().await;
            state.token.take_if(|(known, _)| known.expose_secret() == token.expose_secret());
        }
    }
}

fn api_of(app: &GitHubApp, repository: &RepoUrl) -> Result<Url, Error> {
    wire::base(app.api_url.as_ref(), &super::build::api_of(repository))
}

fn key(app: &GitHubApp, api: &Url) -> Key {
    let hash = digest::digest(&digest::SHA256, app.private_key.expose_secret().as_bytes());
    (api.to_string(), app.app_id.clone(), app.installation.clone(), hash.as_ref().to_vec())
}

fn site(repository: &RepoUrl, api: &Url) -> Site {
    let (owner, name) = repository.owner_and_name().unwrap_or_default();
    Site::at(String::new(), (owner, name), api, SecretString::default())
}

/// One attempt to get a token.
struct Minter<'a> {
    app: &'a GitHubApp,
    site: Site,
    api: &'a str,
    line: &'a Line,
}

impl Minter<'_> {
    async fn mint(&self, skew: &mut i64) -> Result<(SecretString, Duration), Error> {
        let id = match &self.app.installation {
            Installation::Id(id) => *id,
            Installation::Owner(owner) => self.installation_of(owner, skew).await?,
        };
        let answer = self.send(mint(id), skew).await?;
        let message = answer.message();
        match answer.status {
            StatusCode::NOT_FOUND => {
                Err(self.unusable(&format!("there is no installation {id}: it was removed, so install the App again")))
            }
            StatusCode::FORBIDDEN if message.contains("suspended") => {
                Err(self.unusable(&format!("installation {id} is suspended: {message}")))
            }
            _ => {
                let answer = answer.success()?;
                let minted = answer.json::<Minted>()?;
                let now = answer.date().unwrap_or_else(|| now() + *skew);
                let lives = minted.expires_at.as_second().saturating_sub(now);
                Ok((SecretString::from(minted.token), Duration::from_secs(lives.try_into().unwrap_or(0))))
            }
        }
    }

    /// The App's installation on an organization, else on a person's account.
    async fn installation_of(&self, owner: &str, skew: &mut i64) -> Result<u64, Error> {
        for kind in ["orgs", "users"] {
            let answer = self.send(installation_of(kind, owner), skew).await?;
            if answer.status != StatusCode::NOT_FOUND {
                return Ok(answer.success()?.json::<Found>()?.id);
            }
        }
        Err(self.unusable(&format!("it is not installed for `{owner}`: install it there, for this repository")))
    }

    /// Asks as the App. Where the host's clock is another than ours, the question is asked again by the host's.
    async fn send(&self, ask: Ask, skew: &mut i64) -> Result<Answer, Error> {
        let answer = self.send_at(&ask, now() + *skew).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let seen = answer.date().map_or(0, |date| date - now());
        if (seen - *skew).abs() > SAME_TIME {
            *skew = seen;
            let answer = self.send_at(&ask, now() + *skew).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
        }
        let message = answer.message();
        Err(self.unusable(&format!("the host does not accept its id and private key (401): {message}")))
    }

    async fn send_at(&self, ask: &Ask, now: i64) -> Result<Answer, Error> {
        let failed = |error: LineError| Error::Transport {
            call: self.site.call(ask.action),
            retry: error.retry(),
            source: Box::new(error),
        };
        let mut request = ask.request(self.api).map_err(|error| self.site.not_sent(ask.action, error))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert(HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28"));
        headers.insert(AUTHORIZATION, self.authorization(now)?);
        Ok(self.site.answer(ask, self.line.send(request).await.map_err(failed)?))
    }

    /// Good from a minute ago on, for ten minutes, the most that GitHub takes.
    fn authorization(&self, now: i64) -> Result<HeaderValue, Error> {
        let unreadable = || self.unusable("its private key is no RSA key in PEM");
        let key = EncodingKey::from_rsa_pem(self.app.private_key.expose_secret().as_bytes());
        let key = key.map_err(|_error| unreadable())?;
        let claims = Claims { iat: now - 60, exp: now + 540, iss: &self.app.app_id };
        let token =
            jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).map_err(|_error| unreadable())?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_error| unreadable())?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn unusable(&self, problem: &str) -> Error {
        let call = self.site.call("get a token");
        Error::App { app: self.app.app_id.clone(), host: call.host, problem: problem.to_owned() }
    }
}

/// <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>
fn mint(installation: u64) -> Ask {
    Ask::post("get a token of a GitHub App", format!("/app/installations/{installation}/access_tokens"), json!({}))
}

/// <https://docs.github.com/en/rest/apps/apps#get-an-organization-installation-for-the-authenticated-app>,
/// <https://docs.github.com/en/rest/apps/apps#get-a-user-installation-for-the-authenticated-app>
fn installation_of(kind: &str, owner: &str) -> Ask {
    let owner = wire::escape_segment(owner);
    Ask::get("look for the installation of a GitHub App", format!("/{kind}/{owner}/installation"))
}

/// Our clock, in seconds.
fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "an assertion carries the time at which it is made")]
    Timestamp::now().as_second()
}

#[cfg(test)]
mod tests;
