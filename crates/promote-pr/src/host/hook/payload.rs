//! The few fields of deliveries that matter; all others may be anything.

use serde::Deserialize;

use super::{Happened, Notice, PullRequestNotice};

type Parsed = Result<Notice, serde_json::Error>;

/// [GitHub's](https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request), and Gitea's, which is alike.
pub(super) fn github(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Delivery {
        #[serde(default)]
        action: String,
        repository: Repository,
        pull_request: Option<Pull>,
    }
    #[derive(Deserialize)]
    struct Repository {
        full_name: String,
    }
    #[derive(Deserialize)]
    struct Pull {
        number: u64,
        head: Head,
        merged: Option<bool>,
    }
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "ref")]
        name: String,
    }
    let Delivery { action, repository, pull_request } = serde_json::from_slice(body)?;
    let pull_request = pull_request.map(|pull| PullRequestNotice {
        number: pull.number,
        happened: match (action.as_str(), pull.merged) {
            ("closed", Some(true)) => Happened::Merged,
            ("closed", _) => Happened::Closed,
            _ => Happened::Changed,
        },
        head: pull.head.name,
    });
    Ok(notice([repository.full_name], pull_request))
}

/// [GitLab's](https://docs.gitlab.com/user/project/integrations/webhook_events/#merge-request-events).
pub(super) fn gitlab(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Delivery {
        #[serde(default)]
        object_kind: String,
        project: Project,
        object_attributes: Option<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Project {
        path_with_namespace: String,
    }
    #[derive(Deserialize)]
    struct Attributes {
        iid: u64,
        source_branch: String,
        state: String,
    }
    let Delivery { object_kind, project, object_attributes } = serde_json::from_slice(body)?;
    let attributes = object_attributes.filter(|_| object_kind == "merge_request");
    let pull_request = attributes.map(serde_json::from_value::<Attributes>).transpose()?;
    let pull_request = pull_request.map(|request| PullRequestNotice {
        number: request.iid,
        head: request.source_branch,
        happened: match request.state.as_str() {
            "merged" => Happened::Merged,
            "closed" => Happened::Closed,
            _ => Happened::Changed,
        },
    });
    Ok(notice([project.path_with_namespace], pull_request))
}

/// [Bitbucket Data Center's](https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html), and
/// [Bitbucket Cloud's](https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Pull-request-events).
pub(super) fn bitbucket(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Delivery {
        #[serde(rename = "pullRequest")]
        on_server: Option<ServerPull>,
        #[serde(rename = "pullrequest")]
        on_cloud: Option<CloudPull>,
        repository: Option<Repository>,
    }
    #[derive(Deserialize)]
    struct ServerPull {
        id: u64,
        state: String,
        #[serde(rename = "fromRef")]
        from: ServerRef,
        #[serde(rename = "toRef")]
        to: ServerRef,
    }
    #[derive(Deserialize)]
    struct ServerRef {
        #[serde(rename = "displayId")]
        branch: String,
        repository: Repository,
    }
    #[derive(Deserialize)]
    struct CloudPull {
        id: u64,
        state: String,
        source: CloudSource,
    }
    #[derive(Deserialize)]
    struct CloudSource {
        branch: CloudBranch,
    }
    #[derive(Deserialize)]
    struct CloudBranch {
        name: String,
    }
    #[derive(Deserialize)]
    struct Repository {
        slug: Option<String>,
        project: Option<Project>,
        full_name: Option<String>,
    }
    #[derive(Deserialize)]
    struct Project {
        key: String,
    }
    let tails = |repository: Repository| {
        let on_server =
            repository.project.zip(repository.slug).map(|(project, slug)| format!("{}/{slug}", project.key));
        repository.full_name.or(on_server)
    };
    let happened = |state: &str| match state {
        "MERGED" => Happened::Merged,
        "DECLINED" | "SUPERSEDED" => Happened::Closed,
        _ => Happened::Changed,
    };
    let Delivery { on_server, on_cloud, repository } = serde_json::from_slice(body)?;
    let (repository, pull_request) = match (on_server, on_cloud) {
        (Some(pull), _) => {
            let happened = happened(&pull.state);
            let notice = PullRequestNotice { number: pull.id, head: pull.from.branch, happened };
            (Some(pull.to.repository), Some(notice))
        }
        (None, Some(pull)) => {
            let happened = happened(&pull.state);
            (repository, Some(PullRequestNotice { number: pull.id, head: pull.source.branch.name, happened }))
        }
        (None, None) => (repository, None),
    };
    Ok(notice(repository.and_then(tails), pull_request))
}

/// [Azure DevOps'](https://learn.microsoft.com/azure/devops/service-hooks/events#pull-request-updated).
pub(super) fn azure(body: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Delivery {
        resource: Resource,
    }
    #[derive(Deserialize)]
    struct Resource {
        repository: Repository,
        #[serde(rename = "pullRequestId")]
        number: Option<u64>,
        #[serde(rename = "sourceRefName")]
        source: Option<String>,
        #[serde(default)]
        status: String,
    }
    #[derive(Deserialize)]
    struct Repository {
        name: String,
        project: Project,
    }
    #[derive(Deserialize)]
    struct Project {
        name: String,
    }
    let Delivery { resource } = serde_json::from_slice(body)?;
    let (project, name) = (resource.repository.project.name, resource.repository.name);
    let pull_request = resource.number.zip(resource.source).map(|(number, source)| PullRequestNotice {
        number,
        head: source.strip_prefix("refs/heads/").unwrap_or(&source).to_owned(),
        happened: match resource.status.as_str() {
            "completed" => Happened::Merged,
            "abandoned" => Happened::Closed,
            _ => Happened::Changed,
        },
    });
    // The last one is the URL over SSH; the one before it leaves out a project that has the repository's name.
    let short = (project == name).then(|| format!("_git/{name}"));
    let tails = [Some(format!("{project}/_git/{name}")), short, Some(format!("{project}/{name}"))];
    Ok(notice(tails.into_iter().flatten(), pull_request))
}

fn notice(tails: impl IntoIterator<Item = String>, pull_request: Option<PullRequestNotice>) -> Notice {
    Notice {
        tails: tails.into_iter().filter(|tail| !tail.is_empty()).map(|tail| tail.to_lowercase()).collect(),
        pull_request,
    }
}
