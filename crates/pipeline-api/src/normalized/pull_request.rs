//! A pull request of today's shape in one form.

use super::{
    Attributes, Invalid, Problem, Promotion, PullRequest, Strategy, Text, branch, https_url, invalid, object_name,
    repository_url, updates,
};
use crate::{Environment, MergePolicy, Promotion as Spec, PullRequestSpec, rules};

pub(super) fn normalize(field: String, spec: &PullRequestSpec) -> Result<PullRequest, Invalid> {
    let names = [
        ("labels", &spec.labels),
        ("reviewers", &spec.reviewers),
        ("teamReviewers", &spec.team_reviewers),
        ("assignees", &spec.assignees),
    ];
    if let Some((name, _)) = names.into_iter().find(|(_, names)| !names.iter().all(|name| rules::is_name(name))) {
        return Err(invalid(format!("{field}.{name}"), Problem::NotNames));
    }
    let draft = spec.draft.unwrap_or_default();
    let merge = spec.merge.unwrap_or_default();
    if draft && merge != MergePolicy::None {
        return Err(invalid(field, Problem::MergeOfDraft));
    }
    let links = spec.links.clone().unwrap_or_default();
    for (name, link) in [("source", &links.source), ("pipeline", &links.pipeline)] {
        if link.as_ref().is_some_and(|link| !link.starts_with("https://")) {
            return Err(invalid(format!("{field}.links.{name}"), Problem::Scheme("https://")));
        }
    }
    Ok(PullRequest {
        url: repository_url(&format!("{field}.url"), &spec.url)?,
        branch: branch(format!("{field}.branch"), &spec.branch)?,
        secret: object_name(format!("{field}.secretRef"), &spec.secret_ref)?,
        provider: spec.provider,
        api_url: https_url(&format!("{field}.apiUrl"), spec.api_url.as_deref())?,
        updates: updates::normalize(&format!("{field}.updates"), &spec.updates)?,
        text: Text {
            title: spec.title.clone(),
            body: spec.body.clone(),
            commit_message: spec.commit_message.clone(),
            links,
        },
        attributes: Attributes {
            labels: spec.labels.clone(),
            reviewers: spec.reviewers.clone(),
            team_reviewers: spec.team_reviewers.clone(),
            assignees: spec.assignees.clone(),
            milestone: spec.milestone.clone(),
            draft,
        },
        merge,
        field,
    })
}

/// The promotion with an environment's own merge policy, which stands at `field`.
pub(super) fn with_merge(promotion: Promotion, merge: MergePolicy, field: String) -> Result<Promotion, Invalid> {
    let Strategy::PullRequest(mut pull_request) = promotion.strategy else {
        return Err(invalid(field, Problem::MergeWithoutPullRequest));
    };
    if pull_request.attributes.draft && merge != MergePolicy::None {
        return Err(invalid(field, Problem::MergeOfDraft));
    }
    pull_request.merge = merge;
    Ok(Promotion { strategy: Strategy::PullRequest(pull_request), ..promotion })
}

/// Whether an environment's own merge policy goes with its promotion.
pub(super) fn check_merge(environment: &Environment, shared: Option<&Spec>) -> Result<(), Problem> {
    let Some(merge) = environment.merge else {
        return Ok(());
    };
    let promotion = environment.promotion.as_ref().or(shared);
    let own = promotion.and_then(|promotion| promotion.pull_request.as_ref());
    let shipped = promotion.and_then(|promotion| promotion.strategy.as_ref()?.pull_request.as_ref());
    if own.is_none() && shipped.is_none() {
        return Err(Problem::MergeWithoutPullRequest);
    }
    let draft = own.is_some_and(|own| own.draft == Some(true));
    if draft && merge != MergePolicy::None { Err(Problem::MergeOfDraft) } else { Ok(()) }
}
