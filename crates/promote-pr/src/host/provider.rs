//! The kinds of servers that host repositories.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

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
            "dev.azure.com" | "ssh.dev.azure.com" => Some(Self::AzureDevOps),
            host if host.ends_with(".visualstudio.com") => Some(Self::AzureDevOps),
            _ => None,
        }
    }

    /// The provider that the URLs tell: a well-known host, the path of an API, or the mark that Azure DevOps has in all its
    /// [clone URLs](https://learn.microsoft.com/en-us/azure/devops/repos/git/clone).
    pub(crate) fn told_by(repository: &RepoUrl, api_url: Option<&Url>) -> Option<Self> {
        let api = api_url.map(|url| url.path().trim_end_matches('/')).unwrap_or_default();
        let of_api = || match api {
            api if api.ends_with("/api/v4") => Some(Self::GitLab),
            api if api.ends_with("/api/v3") => Some(Self::GitHub),
            api if api.ends_with("/api/v1") => Some(Self::Gitea),
            api if api.ends_with("/rest/api/1.0") || api.ends_with("/rest/api/latest") => Some(Self::BitbucketServer),
            _ => None,
        };
        let of_path = || repository.as_url().path().contains("/_git/").then_some(Self::AzureDevOps);
        Self::of_host(repository.host()).or_else(of_api).or_else(of_path)
    }

    /// The user name for git: the given one, unless it is for the API alone, else the one that goes with a token.
    pub(crate) fn git_user(self, given: Option<&str>) -> &str {
        match (self, given) {
            // API tokens take an e-mail address in the API, and git does not:
            // https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/
            (Self::BitbucketCloud, Some(name)) if name.contains('@') => "x-bitbucket-api-token-auth",
            (_, Some(name)) => name,
            (_, None) => self.token_user(),
        }
    }

    fn token_user(self) -> &'static str {
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
        check("org.visualstudio.com", Some(Provider::AzureDevOps));
        check("vs-ssh.visualstudio.com", Some(Provider::AzureDevOps));
        check("visualstudio.com.evil.example", None);
        check("github.com.evil.example", None);
        check("github.example.com", None);
    }

    #[test]
    fn git_has_user_names_of_its_own() {
        let check = |provider: Provider, given: Option<&str>, expect: &str| {
            assert_eq!(provider.git_user(given), expect, "{provider} {given:?}");
        };
        check(Provider::GitHub, None, "x-access-token");
        check(Provider::GitHub, Some("ann"), "ann");
        check(Provider::GitLab, None, "oauth2");
        check(Provider::BitbucketCloud, None, "x-token-auth");
        check(Provider::BitbucketCloud, Some("ann@example.com"), "x-bitbucket-api-token-auth");
        check(Provider::BitbucketServer, Some("ann@example.com"), "ann@example.com");
        check(Provider::AzureDevOps, None, "git");
    }

    #[test]
    fn urls_tell_the_provider() {
        let check = |repository: &str, api_url: Option<&str>, expect: Option<Provider>| {
            let api_url = api_url.map(|url| url.parse().unwrap());
            assert_eq!(Provider::told_by(&repository.parse().unwrap(), api_url.as_ref()), expect, "{repository}");
        };
        let own = "https://git.example.com/org/config.git";
        check("https://github.com/org/config.git", None, Some(Provider::GitHub));
        check("ssh://git@ssh.dev.azure.com/v3/org/fleet/config", None, Some(Provider::AzureDevOps));
        check("https://tfs.example.com/tfs/Main/fleet/_git/config", None, Some(Provider::AzureDevOps));
        check(own, Some("https://git.example.com/api/v3/"), Some(Provider::GitHub));
        check(own, Some("https://git.example.com/gitlab/api/v4"), Some(Provider::GitLab));
        check(own, Some("https://git.example.com/api/v1"), Some(Provider::Gitea));
        check(own, Some("https://git.example.com/rest/api/latest"), Some(Provider::BitbucketServer));
        check(own, Some("https://git.example.com/v2"), None);
        check(own, None, None);
    }
}
