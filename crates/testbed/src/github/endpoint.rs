//! Which endpoint of the API a request is for.

use http::Method;
use percent_encoding::percent_decode_str;

/// The endpoints that the imitation knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`GET /user`](https://docs.github.com/en/rest/users/users#get-the-authenticated-user)
    User,
    /// [`GET /repos/{owner}/{repo}`](https://docs.github.com/en/rest/repos/repos#get-a-repository)
    Repo,
    /// [`GET …/branches/{branch}`](https://docs.github.com/en/rest/branches/branches#get-a-branch)
    Branch,
    /// [`GET …/git/ref/heads/{branch}`](https://docs.github.com/en/rest/git/refs#get-a-reference)
    Ref,
    /// [`DELETE …/git/refs/heads/{branch}`](https://docs.github.com/en/rest/git/refs#delete-a-reference)
    DeleteRef,
    /// [`GET …/pulls`](https://docs.github.com/en/rest/pulls/pulls#list-pull-requests)
    ListPulls,
    /// [`POST …/pulls`](https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request)
    CreatePull,
    /// [`GET …/pulls/{number}`](https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request)
    GetPull,
    /// [`PATCH …/pulls/{number}`](https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request)
    UpdatePull,
    /// [`PUT …/pulls/{number}/merge`](https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request)
    MergePull,
    /// [`GET …/issues/{number}/comments`](https://docs.github.com/en/rest/issues/comments#list-issue-comments)
    ListComments,
    /// [`POST …/issues/{number}/comments`](https://docs.github.com/en/rest/issues/comments#create-an-issue-comment)
    CreateComment,
    /// [`POST …/issues/{number}/labels`](https://docs.github.com/en/rest/issues/labels#add-labels-to-an-issue)
    AddLabels,
    /// [`PATCH …/issues/{number}`](https://docs.github.com/en/rest/issues/issues#update-an-issue)
    UpdateIssue,
    /// [`POST …/issues/{number}/assignees`](https://docs.github.com/en/rest/issues/assignees#add-assignees-to-an-issue)
    AddAssignees,
    /// [`GET …/issues/{number}/events`](https://docs.github.com/en/rest/issues/events#list-issue-events)
    ListEvents,
    /// [`GET …/milestones`](https://docs.github.com/en/rest/issues/milestones#list-milestones)
    ListMilestones,
    /// [`POST …/pulls/{number}/requested_reviewers`](https://docs.github.com/en/rest/pulls/review-requests#request-reviewers-for-a-pull-request)
    RequestReviewers,
    /// [`POST /graphql`](https://docs.github.com/en/graphql/guides/forming-calls-with-graphql)
    GraphQl,
    /// [`GET /orgs/{org}/installation`](https://docs.github.com/en/rest/apps/apps#get-an-organization-installation-for-the-authenticated-app),
    /// and that of users
    Installation,
    /// [`POST /app/installations/{id}/access_tokens`](https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app)
    AccessToken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) call: Call,
    /// `owner/name`
    pub(super) repo: Option<String>,
    pub(super) number: u64,
    pub(super) branch: String,
}

impl Endpoint {
    /// The endpoint at a percent-encoded path; none when it is not imitated.
    pub(super) fn parse(method: &Method, path: &str) -> Option<Self> {
        if path == "/api/graphql" && *method == Method::POST {
            return Some(Self { call: Call::GraphQl, repo: None, number: 0, branch: String::new() });
        }
        let decoded: Vec<String> = path
            .strip_prefix("/api/v3/")?
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8().map(String::from).ok())
            .collect::<Option<_>>()?;
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();

        let (repo, rest) = match parts.as_slice() {
            ["repos", owner, name, rest @ ..] => (Some(format!("{owner}/{name}")), rest),
            rest => (None, rest),
        };
        let (call, number, branch): (_, _, &[&str]) = match (method.as_str(), repo.is_some(), rest) {
            ("GET", false, ["user"]) => (Call::User, "", &[]),
            ("GET", true, []) => (Call::Repo, "", &[]),
            ("GET", true, ["branches", branch @ ..]) => (Call::Branch, "", branch),
            ("GET", true, ["git", "ref", "heads", branch @ ..]) => (Call::Ref, "", branch),
            ("DELETE", true, ["git", "refs", "heads", branch @ ..]) => (Call::DeleteRef, "", branch),
            ("GET", true, ["pulls"]) => (Call::ListPulls, "", &[]),
            ("POST", true, ["pulls"]) => (Call::CreatePull, "", &[]),
            ("GET", true, ["pulls", number]) => (Call::GetPull, *number, &[]),
            ("PATCH", true, ["pulls", number]) => (Call::UpdatePull, *number, &[]),
            ("PUT", true, ["pulls", number, "merge"]) => (Call::MergePull, *number, &[]),
            ("GET", true, ["issues", number, "comments"]) => (Call::ListComments, *number, &[]),
            ("POST", true, ["issues", number, "comments"]) => (Call::CreateComment, *number, &[]),
            ("POST", true, ["issues", number, "labels"]) => (Call::AddLabels, *number, &[]),
            ("PATCH", true, ["issues", number]) => (Call::UpdateIssue, *number, &[]),
            ("POST", true, ["issues", number, "assignees"]) => (Call::AddAssignees, *number, &[]),
            ("GET", true, ["issues", number, "events"]) => (Call::ListEvents, *number, &[]),
            ("GET", true, ["milestones"]) => (Call::ListMilestones, "", &[]),
            ("POST", true, ["pulls", number, "requested_reviewers"]) => (Call::RequestReviewers, *number, &[]),
            ("GET", false, ["orgs" | "users", owner, "installation"]) => {
                (Call::Installation, "", std::slice::from_ref(owner))
            }
            ("POST", false, ["app", "installations", number, "access_tokens"]) => (Call::AccessToken, *number, &[]),
            _ => return None,
        };
        let number = if number.is_empty() { 0 } else { number.parse().ok()? };
        Some(Self { call, repo, number, branch: branch.join("/") })
    }

    /// Whether an App asks, and not one of its tokens.
    pub(super) fn is_of_app(&self) -> bool {
        matches!(self.call, Call::Installation | Call::AccessToken)
    }

    /// Whether it changes something.
    pub(super) fn writes(&self) -> bool {
        match self.call {
            Call::User
            | Call::Repo
            | Call::Branch
            | Call::Ref
            | Call::ListPulls
            | Call::GetPull
            | Call::ListEvents
            | Call::ListMilestones
            | Call::Installation
            | Call::ListComments => false,
            Call::DeleteRef
            | Call::CreatePull
            | Call::UpdatePull
            | Call::MergePull
            | Call::CreateComment
            | Call::UpdateIssue
            | Call::AddAssignees
            | Call::RequestReviewers
            | Call::GraphQl
            | Call::AccessToken
            | Call::AddLabels => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, path: &str, expect: Option<(Call, &str, u64, &str)>) {
        let endpoint = Endpoint::parse(method, path);
        let got =
            endpoint.as_ref().map(|e| (e.call, e.repo.as_deref().unwrap_or_default(), e.number, e.branch.as_str()));
        assert_eq!(got, expect, "{method} {path}");
    }

    #[test]
    fn endpoints_are_told_apart() {
        check(&Method::GET, "/api/v3/user", Some((Call::User, "", 0, "")));
        check(&Method::GET, "/api/v3/repos/o/n", Some((Call::Repo, "o/n", 0, "")));
        check(&Method::GET, "/api/v3/repos/o/n/branches/a%2Fb", Some((Call::Branch, "o/n", 0, "a/b")));
        check(&Method::GET, "/api/v3/repos/o/n/git/ref/heads/a/b+c", Some((Call::Ref, "o/n", 0, "a/b+c")));
        check(&Method::DELETE, "/api/v3/repos/o/n/git/refs/heads/a/b", Some((Call::DeleteRef, "o/n", 0, "a/b")));
        check(&Method::PUT, "/api/v3/repos/o/n/pulls/7/merge", Some((Call::MergePull, "o/n", 7, "")));
        check(&Method::GET, "/api/v3/users/o/installation", Some((Call::Installation, "", 0, "o")));
        check(&Method::POST, "/api/v3/app/installations/7/access_tokens", Some((Call::AccessToken, "", 7, "")));
        check(&Method::POST, "/api/graphql", Some((Call::GraphQl, "", 0, "")));
        check(&Method::GET, "/api/v3/repos/o/n/pulls/x", None);
        check(&Method::GET, "/repos/o/n/pulls", None);
        check(&Method::DELETE, "/api/v3/repos/o/n/pulls/7", None);
        check(&Method::GET, "/api/v3/repos/o", None);
    }
}
