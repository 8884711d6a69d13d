//! GitHub Apps: who they say they are, and the tokens of their installations.

use std::sync::{
    Mutex,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};
use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::{
    api::{Problem, Reply},
    world::World,
};
use crate::{https::lock, unique};

/// A GitHub App with one installation.
#[derive(Clone)]
pub struct App {
    /// Its id.
    pub id: String,
    /// The installation's id.
    pub installation: u64,
    /// Whose account it is installed on.
    pub owner: String,
    /// Its private key in PEM.
    pub private_key: String,
    public_key: Vec<u8>,
}

/// What has become of an [`App`]'s installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Installed {
    /// It works.
    #[default]
    Yes,
    /// Somebody suspended it.
    Suspended,
    /// Somebody removed it.
    Removed,
}

#[derive(Default)]
pub(super) struct Apps {
    app: Mutex<Option<(App, Installed)>>,
    tokens: Mutex<Vec<String>>,
    /// The host's clock minus the real one, in seconds.
    pub(super) skew: AtomicI64,
    /// How long tokens live, in seconds.
    pub(super) lifetime: AtomicU64,
}

#[derive(Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: String,
}

impl Apps {
    pub(super) fn register(&self, owner: &str) -> Result<App> {
        let key = KeyPair::generate(KeySize::Rsa2048).context("generating an RSA key")?;
        let der = key.as_der().context("encoding an RSA key")?;
        let private_key = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD
                .encode(der.as_ref())
                .as_bytes()
                .chunks(64)
                .map(String::from_utf8_lossy)
                .collect::<Vec<_>>()
                .join("\n")
        );
        let public_key = key.public_key().as_ref().to_vec();
        let app = App { id: "1234".to_owned(), installation: 7, owner: owner.to_owned(), private_key, public_key };
        *lock(&self.app) = Some((app.clone(), Installed::Yes));
        self.lifetime.store(3600, Ordering::Relaxed);
        Ok(app)
    }

    pub(super) fn set(&self, installed: Installed) {
        if let Some((_, state)) = &mut *lock(&self.app) {
            *state = installed;
        }
    }

    pub(super) fn tokens(&self) -> Vec<String> {
        lock(&self.tokens).clone()
    }

    /// The host's clock.
    pub(super) fn now(&self, at: Timestamp) -> Timestamp {
        at + SignedDuration::from_secs(self.skew.load(Ordering::Relaxed))
    }

    /// The [installation of an account](https://docs.github.com/en/rest/apps/apps#get-an-organization-installation-for-the-authenticated-app).
    pub(super) fn find(&self, headers: &HeaderMap, owner: &str, at: Timestamp) -> Result<Reply, Problem> {
        let (app, installed) = self.caller(headers, at)?;
        if app.owner != owner || installed == Installed::Removed {
            return Err(Problem::not_found());
        }
        Ok(Reply::new(StatusCode::OK, json!({"id": app.installation, "app_id": 1234, "account": {"login": owner}})))
    }

    /// [A token](https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app).
    pub(super) fn mint(
        &self,
        world: &World,
        headers: &HeaderMap,
        installation: u64,
        at: Timestamp,
    ) -> Result<(Reply, String), Problem> {
        let (app, installed) = self.caller(headers, at)?;
        if app.installation != installation || installed == Installed::Removed {
            return Err(Problem::not_found());
        }
        if installed == Installed::Suspended {
            return Err(Problem::new(StatusCode::FORBIDDEN, "This installation has been suspended"));
        }
        let token = format!("ghs_{}{}", unique(), unique());
        world.add_token(&token, None);
        lock(&self.tokens).push(token.clone());
        let lifetime = i64::try_from(self.lifetime.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let ends = self.now(at) + SignedDuration::from_secs(lifetime);
        let body = json!({
            "token": token,
            "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "permissions": {"contents": "write", "pull_requests": "write", "metadata": "read"},
            "repository_selection": "all",
        });
        Ok((Reply::new(StatusCode::CREATED, body), token))
    }

    /// The App that signed the request's [assertion](https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).
    fn caller(&self, headers: &HeaderMap, at: Timestamp) -> Result<(App, Installed), Problem> {
        let refused = |message: &str| Problem::new(StatusCode::UNAUTHORIZED, message);
        let undecodable = || refused("A JSON web token could not be decoded");
        let (app, installed) = lock(&self.app).clone().ok_or_else(undecodable)?;
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let (signed, signature) = token.and_then(|token| token.rsplit_once('.')).ok_or_else(undecodable)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_error| undecodable())?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &app.public_key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_error| undecodable())?;
        let (head, claims) = signed.split_once('.').ok_or_else(undecodable)?;
        let head = URL_SAFE_NO_PAD.decode(head).map_err(|_error| undecodable())?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_error| undecodable())?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_error| undecodable())?;
        let algorithm: serde_json::Value = serde_json::from_slice(&head).map_err(|_error| undecodable())?;
        if claims.iss != app.id || algorithm.get("alg") != Some(&json!("RS256")) {
            return Err(undecodable());
        }
        let now = self.now(at).as_second();
        if claims.iat > now {
            return Err(refused(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            ));
        }
        if claims.exp <= now {
            return Err(refused(
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
            ));
        }
        if claims.exp > now + 600 {
            return Err(refused("'Expiration time' claim ('exp') is too far in the future"));
        }
        Ok((app, installed))
    }
}
