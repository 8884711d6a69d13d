//! What hosts tell by webhook: who may have sent it, and which pull request it is about. Pure.
//!
//! A delivery is only a reason to look at the pull request again: nothing that it says is believed. It is parsed before it
//! is verified, for only the repository that it names tells which secret to verify it with.

mod payload;
mod verify;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use http::HeaderMap;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use crate::names::RepoUrl;

/// Longest delivery, in bytes. Those about pull requests are far shorter on every host.
pub const MAX_BODY: usize = 3 << 20;

/// How old a delivery with a signed time may be, in seconds; as old as
/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#verifying-webhook-authenticity)
/// has it.
const TOLERANCE: i64 = 300;

/// How many deliveries [`Seen`] remembers.
const REMEMBERED: usize = 4096;

/// Hosts by the way in which they sign and tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// github.com and GitHub Enterprise Server.
    GitHub,
    /// gitlab.com and GitLab's installations.
    GitLab,
    /// Gitea and Forgejo.
    Gitea,
    /// bitbucket.org, Bitbucket Server and Data Center.
    Bitbucket,
    /// Azure DevOps Services and Server.
    Azure,
}

impl Sender {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::GitHub, Self::GitLab, Self::Gitea, Self::Bitbucket, Self::Azure];

    /// The name in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Bitbucket => "bitbucket",
            Self::Azure => "azure",
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no host sends webhooks by this name")]
pub struct UnknownSender;

impl FromStr for Sender {
    type Err = UnknownSender;

    fn from_str(name: &str) -> Result<Self, UnknownSender> {
        Self::ALL.into_iter().find(|sender| sender.name() == name).ok_or(UnknownSender)
    }
}

/// What a delivery is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What the path of the repository's URL may end with.
    tails: Vec<String>,
    /// The pull request, if it is about one.
    pub pull_request: Option<PullRequestNotice>,
}

/// The pull request that a delivery is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequestNotice {
    /// Its number in the repository.
    pub number: u64,
    /// The branch that it comes from.
    pub head: String,
    /// What happened to it.
    pub happened: Happened,
}

/// What happened to a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was merged.
    Merged,
    /// It was closed without being merged.
    Closed,
    /// Something else.
    Changed,
}

/// Why a delivery is refused. It says nothing of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More than [`MAX_BODY`].
    #[error("the delivery is too long")]
    TooLong,
    /// Not JSON, or not what the host documents.
    #[error("the delivery cannot be read: the host has to send it as JSON")]
    Unreadable,
    /// It carries no signature or token.
    #[error("the delivery is not signed")]
    Unsigned,
    /// Its signature or token is wrong.
    #[error("the delivery is not of who it says")]
    Forged,
    /// It was signed more than five minutes ago, or ahead of the time.
    #[error("the delivery is too old")]
    Old,
    /// It was here before.
    #[error("the delivery was received before")]
    Replayed,
}

/// What a delivery says it is about.
///
/// # Errors
///
/// [`Refused::TooLong`] and [`Refused::Unreadable`].
pub fn parse(sender: Sender, body: &[u8]) -> Result<Notice, Refused> {
    if body.len() > MAX_BODY {
        return Err(Refused::TooLong);
    }
    let notice = match sender {
        Sender::GitHub | Sender::Gitea => payload::github(body),
        Sender::GitLab => payload::gitlab(body),
        Sender::Bitbucket => payload::bitbucket(body),
        Sender::Azure => payload::azure(body),
    };
    notice.map_err(|_error| Refused::Unreadable)
}

/// Whether somebody who holds `secret` has sent this. Takes the same time wherever the two differ.
///
/// | sender | what is checked |
/// |---|---|
/// | GitHub | [`X-Hub-Signature-256`](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries) |
/// | GitLab | [`webhook-signature`](https://docs.gitlab.com/user/project/integrations/webhooks/), five minutes long, else `X-Gitlab-Token` |
/// | Gitea, Forgejo | [`X-Gitea-Signature`](https://docs.gitea.com/usage/webhooks), `X-Forgejo-Signature` |
/// | Bitbucket | [`X-Hub-Signature`](https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/#Secure-webhooks) with SHA-256 |
/// | Azure DevOps | the password of [basic authentication](https://learn.microsoft.com/azure/devops/service-hooks/services/webhooks) |
///
/// # Errors
///
/// [`Refused::Unsigned`], [`Refused::Forged`] and [`Refused::Old`].
pub fn verify(
    sender: Sender,
    headers: &HeaderMap,
    body: &[u8],
    secret: &SecretString,
    now: Timestamp,
) -> Result<(), Refused> {
    match sender {
        Sender::GitHub => verify::hmac(headers, &["x-hub-signature-256"], "sha256=", body, secret),
        Sender::Gitea => verify::hmac(headers, &["x-forgejo-signature", "x-gitea-signature"], "", body, secret),
        Sender::Bitbucket => verify::hmac(headers, &["x-hub-signature"], "sha256=", body, secret),
        Sender::GitLab => verify::gitlab(headers, body, secret, now),
        Sender::Azure => verify::password(headers, secret),
    }
}

impl Notice {
    /// Whether it can be about this repository. Hosts name themselves differently within a cluster and outside of it, so
    /// that only the path counts; the signature tells whose repository it is.
    pub fn concerns(&self, repository: &RepoUrl) -> bool {
        let path = percent_decode_str(repository.as_url().path()).decode_utf8_lossy().to_lowercase();
        let path = path.strip_suffix(".git").unwrap_or(&path);
        self.tails.iter().any(|tail| path.strip_suffix(tail.as_str()).is_some_and(|before| before.ends_with('/')))
    }
}

/// Remembers the last verified deliveries, so that whoever has caught one cannot send it again and again. The hosts' own ids
/// are not signed, and do not count.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    digests: HashSet<Vec<u8>>,
    order: VecDeque<Vec<u8>>,
}

impl Seen {
    /// Whether this verified delivery is new; it is not from now on.
    ///
    /// # Errors
    ///
    /// [`Refused::Replayed`].
    pub fn note(&mut self, body: &[u8]) -> Result<(), Refused> {
        let digest = digest::digest(&digest::SHA256, body).as_ref().to_vec();
        if !self.digests.insert(digest.clone()) {
            return Err(Refused::Replayed);
        }
        self.order.push_back(digest);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
