//! Which software serves a repository, where neither the request nor the URL says it: the host is asked, once and without
//! credentials.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use egress::{Client, Limits, Retry};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::Value;
use url::Url;

use crate::error::{Call, Error};
use crate::names::RepoUrl;

use super::{Provider, wire};

/// Bounds of one question.
const LIMITS: Limits = Limits { deadline: Duration::from_secs(10), body: 64 << 10 };

/// What is asked, until an answer tells: GitLab's, Gitea's, GitHub's and Bitbucket's version. All are open to everybody,
/// or refuse in a way of their own.
const QUESTIONS: [&str; 4] =
    ["/api/v4/version", "/api/v1/version", "/api/v3/meta", "/rest/api/1.0/application-properties"];

/// The hosts that were asked, and what they are.
#[derive(Default)]
pub(crate) struct Providers {
    known: Mutex<HashMap<String, Provider>>,
}

impl Providers {
    /// The given provider, else the one that the URLs tell, else the one that the host tells.
    ///
    /// *Idempotency*: a host that told is not asked again.
    ///
    /// # Errors
    ///
    /// [`Error::ProviderUnknown`] when the host does not tell either, [`Error::Transport`] when it cannot be reached.
    pub(crate) async fn of(
        &self,
        given: Option<Provider>,
        repository: &RepoUrl,
        api_url: Option<&Url>,
        client: &Client,
    ) -> Result<Provider, Error> {
        if let Some(provider) = given.or_else(|| Provider::told_by(repository, api_url)) {
            return Ok(provider);
        }
        let origin = wire::origin(repository);
        if let Some(provider) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&origin) {
            return Ok(*provider);
        }
        let provider = ask(repository, &origin, &client.with_limits(LIMITS)).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(origin, provider);
        Ok(provider)
    }
}

async fn ask(repository: &RepoUrl, origin: &str, client: &Client) -> Result<Provider, Error> {
    let host = repository.host().to_owned();
    let failed = |source: Box<dyn std::error::Error + Send + Sync>, retry| Error::Transport {
        call: Call {
            action: "find out the provider of a repository",
            repository: repository.as_url().path().trim_start_matches('/').to_owned(),
            host: host.clone(),
        },
        source,
        retry,
    };
    for question in QUESTIONS {
        let request = Request::get(format!("{origin}{question}")).body(Bytes::new());
        let request = request.map_err(|error| failed(Box::new(error), Retry::Never))?;
        let answer = client.send(request).await.map_err(|error| {
            let retry = error.retry();
            failed(Box::new(error), retry)
        })?;
        if let Some(provider) = told(&answer) {
            tracing::info!(host = %host, provider = %provider, "the host told which software it is");
            return Ok(provider);
        }
    }
    Err(Error::ProviderUnknown { host })
}

/// What an answer to any of the questions tells.
fn told(answer: &Response<Bytes>) -> Option<Provider> {
    let headers = answer.headers();
    // https://docs.github.com/en/enterprise-server@3.19/rest/meta/meta#get-github-enterprise-server-meta-information
    if has(headers, "x-github-enterprise-version") || has(headers, "x-github-request-id") {
        return Some(Provider::GitHub);
    }
    // All answers of Azure DevOps carry these, refusals as well.
    if has(headers, "x-tfs-processid") || has(headers, "x-vss-e2eid") {
        return Some(Provider::AzureDevOps);
    }
    if has(headers, "x-gitlab-meta") {
        return Some(Provider::GitLab);
    }
    let body: Value = serde_json::from_slice(answer.body()).ok()?;
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    match answer.status() {
        // https://docs.gitlab.com/api/version/
        StatusCode::UNAUTHORIZED if text("message") == Some("401 Unauthorized") => Some(Provider::GitLab),
        // https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-system-maintenance/#api-api-latest-application-properties-get
        StatusCode::OK if text("displayName") == Some("Bitbucket") => Some(Provider::BitbucketServer),
        // https://docs.gitea.com/api/next/#tag/miscellaneous/operation/getVersion; Forgejo's own version has Gitea's
        // behind it: https://forgejo.org/docs/latest/user/versions/
        StatusCode::OK if text("version").is_some_and(|version| version.contains("+gitea-")) => Some(Provider::Forgejo),
        StatusCode::OK if text("version").is_some() && text("revision").is_none() => Some(Provider::Gitea),
        _ => None,
    }
}

fn has(headers: &HeaderMap, name: &str) -> bool {
    headers.contains_key(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_tell_what_software_it_is() {
        let check = |status: u16, header: Option<&str>, body: &Value, expect: Option<Provider>| {
            let mut answer = Response::builder().status(status);
            if let Some(header) = header {
                answer = answer.header(header, "x");
            }
            let answer = answer.body(Bytes::from(body.to_string())).unwrap();
            assert_eq!(told(&answer), expect, "{status} {header:?} {body}");
        };
        check(401, None, &json!({"message": "401 Unauthorized"}), Some(Provider::GitLab));
        check(404, Some("x-gitlab-meta"), &Value::Null, Some(Provider::GitLab));
        check(200, None, &json!({"version": "1.24.2"}), Some(Provider::Gitea));
        check(200, None, &json!({"version": "12.0.1+gitea-1.22.0"}), Some(Provider::Forgejo));
        check(401, Some("x-github-enterprise-version"), &json!({"message": "x"}), Some(Provider::GitHub));
        check(200, None, &json!({"version": "8.19.1", "displayName": "Bitbucket"}), Some(Provider::BitbucketServer));
        check(404, Some("x-tfs-processid"), &Value::Null, Some(Provider::AzureDevOps));
        check(401, None, &json!({"message": "Unauthorized"}), None);
        check(200, None, &json!({"status": "ok"}), None);
        check(200, None, &json!("<!DOCTYPE html>"), None);
    }
}
