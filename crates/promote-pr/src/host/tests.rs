//! What the tests of all hosts share, and one life of a pull request over each imitated host.

mod lives;

use bytes::Bytes;
use egress::{Egress, Identity, Policy};
use http::{Method, Response};
use secrecy::SecretString;
use serde_json::Value;

use super::wire::{Answer, Ask, Site};
use super::{Accounts, Host, Line, NewPullRequest, Provider, PullRequest, PullRequestState};
use crate::names::BranchName;
use crate::request::{Attributes, Credentials};

pub(super) const HEAD: &str = "1123456789012345678901234567890123456789";
pub(super) const MERGED: &str = "0123456789012345678901234567890123456789";

pub(super) fn line(identity: &Identity) -> Line {
    let client = Egress::new(loopback()).unwrap().client(identity).unwrap();
    Line::new(client, Accounts::default().account(Provider::Gitea, "", ""), "default/podinfo")
}

pub(super) fn token(token: &str) -> Credentials {
    Credentials { token: Some(SecretString::from(token)), ..Credentials::default() }
}

pub(super) fn password(username: &str, password: &str) -> Credentials {
    Credentials {
        username: Some(username.to_owned()),
        password: Some(SecretString::from(password)),
        ..Credentials::default()
    }
}

pub(super) fn answer(site: &Site, status: u16, body: &Value) -> Answer {
    let response = Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap();
    site.answer(&Ask::get("test", "/".to_owned()), response)
}

/// What a request is, on one line.
pub(super) fn check(ask: Ask, method: Method, path: &str, body: Option<Value>) {
    assert_eq!((ask.method, ask.path.as_str(), ask.body), (method, path, body));
}

pub(super) fn branch(name: &str) -> BranchName {
    name.parse().unwrap()
}

pub(super) fn new(draft: bool) -> NewPullRequest {
    NewPullRequest {
        head: branch("promotion/a#1"),
        base: branch("release/1"),
        title: "t".to_owned(),
        body: "b".to_owned(),
        draft,
    }
}

pub(super) fn shown(draft: bool) -> PullRequest {
    PullRequest {
        number: 7,
        url: "https://git.example.com/7".to_owned(),
        state: PullRequestState::Open,
        head: "promotion/a".to_owned(),
        base: "main".to_owned(),
        title: "t".to_owned(),
        body: "b".to_owned(),
        head_commit: Some(HEAD.parse().unwrap()),
        merged_commit: None,
        attributes: Attributes { draft, ..Attributes::default() },
    }
}

/// The servers of the tests are on loopback, which nobody reaches without being allowed to.
fn loopback() -> Policy {
    let guard = egress::Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], ..egress::Guard::default() };
    Policy { guard, ..Policy::default() }
}
