//! The kinds of servers that host repositories.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::names::RepoUrl;

/// The software or service that hosts a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Provider {
    /// github.com and GitHub Enterprise Server.
    GitHub,
    /// gitlab.com and GitLab installations.
    GitLab,
    /// Gitea.
    Gitea,
    /// Forgejo, which speaks Gitea's API; codeberg.org.
    Forgejo,
    /// Bitbucket Server and Data Center.
    BitbucketServer,
    /// bitbucket.org.
    BitbucketCloud,
    /// Azure DevOps Services and Server.
    AzureDevOps,
}

impl Provider {
    /// All providers, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::GitHub,
        Self::GitLab,
        Self::Gitea,
        Self::Forgejo,
        Self::BitbucketServer,
        Self::BitbucketCloud,
        Self::AzureDevOps,
    ];

    /// The name in manifests: `github`, `azure-devops`, ….
    pub fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::BitbucketServer => "bitbucket-server",
            Self::BitbucketCloud => "bitbucket-cloud",
            Self::AzureDevOps => "azure-devops",
        }
    }

    /// All names, separated by commas.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The provider of a well-known host.
    pub fn of_host(host: &str) -> Option<Self> {
        match host.to_ascii_lowercase().as_str() {
            "github.com" => Some(Self::GitHub),
            "gitlab.com" => Some(Self::GitLab),
            "gitea.com" => Some(Self::Gitea),
            "codeberg.org" => Some(Self::Forgejo),
            "bitbucket.org" => Some(Self::BitbucketCloud),
            "dev.azure.com" => Some(Self::AzureDevOps),
            _ => None,
        }
    }

    /// The given provider, else that of the repository's host.
    ///
    /// # Errors
    ///
    /// [`Error::ProviderUnknown`] when neither says it.
    pub fn of(given: Option<Self>, repository: &RepoUrl) -> Result<Self, Error> {
        let host = repository.host();
        given.or_else(|| Self::of_host(host)).ok_or_else(|| Error::ProviderUnknown { host: host.to_owned() })
    }

    /// The user name for git that goes with a token alone.
    pub(crate) fn token_user(self) -> &'static str {
        match self {
            // https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation
            Self::GitHub => "x-access-token",
            // https://docs.gitlab.com/user/project/settings/project_access_tokens/#bot-users-for-projects
            Self::GitLab => "oauth2",
            // https://support.atlassian.com/bitbucket-cloud/docs/using-access-tokens/
            Self::BitbucketCloud | Self::BitbucketServer => "x-token-auth",
            Self::Gitea | Self::Forgejo | Self::AzureDevOps => "git",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no provider has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown provider `{name}`: use one of {}", Provider::names())]
pub struct UnknownProvider {
    /// The name.
    pub name: String,
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.name() == name)
            .ok_or_else(|| UnknownProvider { name: name.to_owned() })
    }
}

impl TryFrom<String> for Provider {
    type Error = UnknownProvider;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<Provider> for String {
    fn from(provider: Provider) -> Self {
        provider.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for provider in Provider::ALL {
            assert_eq!(provider.name().parse::<Provider>().unwrap(), provider);
            let json = serde_json::to_string(&provider).unwrap();
            assert_eq!(json, format!("\"{provider}\""));
            assert_eq!(serde_json::from_str::<Provider>(&json).unwrap(), provider);
        }
        let error = "GitHub".parse::<Provider>().unwrap_err().to_string();
        assert!(error.starts_with("unknown provider `GitHub`: use one of github, gitlab"), "{error}");
    }

    #[test]
    fn well_known_hosts_are_detected() {
        let check = |host: &str, expect: Option<Provider>| assert_eq!(Provider::of_host(host), expect, "{host}");
        check("github.com", Some(Provider::GitHub));
        check("GitHub.com", Some(Provider::GitHub));
        check("gitlab.com", Some(Provider::GitLab));
        check("codeberg.org", Some(Provider::Forgejo));
        check("gitea.com", Some(Provider::Gitea));
        check("bitbucket.org", Some(Provider::BitbucketCloud));
        check("dev.azure.com", Some(Provider::AzureDevOps));
        check("github.com.evil.example", None);
        check("github.example.com", None);
    }
}
