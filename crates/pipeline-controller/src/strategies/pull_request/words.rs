//! What a pull request says and shows, in the terms of promote-pr. Pure.

use std::str::FromStr;

use pipeline_api::normalized::{self, PullRequest};
use promote_pr::{Attributes, Key, LinkTemplate, Links, MergePolicy, TemplateError, Templates};

use crate::plan::Effect;

/// The words of pull request and commit.
///
/// # Errors
/// The field whose template cannot be used, and why.
pub(super) fn templates(spec: &PullRequest) -> Result<Templates, String> {
    let text = &spec.text;
    Ok(Templates {
        title: parse(spec, "title", text.title.as_deref())?,
        body: parse(spec, "body", text.body.as_deref())?,
        message: parse(spec, "commitMessage", text.commit_message.as_deref())?,
    })
}

/// The pages that the text links. One that needs a part which the revision does not have is left out.
///
/// # Errors
/// The field whose template cannot be used, and why.
pub(super) fn links(spec: &PullRequest, key: &Key, effect: &Effect) -> Result<Links, String> {
    let [source, pipeline] = link_templates(spec)?;
    let render = |template: Option<LinkTemplate>| template?.render(key, Some(&effect.source_environment)).ok();
    let previous = effect.previous_url.as_deref().and_then(|url| url.parse().ok());
    Ok(Links { source: render(source), pipeline: render(pipeline), previous })
}

/// The templates of the links.
pub(super) fn link_templates(spec: &PullRequest) -> Result<[Option<LinkTemplate>; 2], String> {
    let links = &spec.text.links;
    Ok([
        parse(spec, "links.source", links.source.as_deref())?,
        parse(spec, "links.pipeline", links.pipeline.as_deref())?,
    ])
}

fn parse<T: FromStr<Err = TemplateError>>(
    spec: &PullRequest,
    field: &str,
    template: Option<&str>,
) -> Result<Option<T>, String> {
    template.map(str::parse).transpose().map_err(|error| format!("{}.{field}: {error}", spec.field))
}

pub(super) fn attributes(spec: &normalized::Attributes) -> Attributes {
    Attributes {
        labels: spec.labels.clone(),
        reviewers: spec.reviewers.clone(),
        team_reviewers: spec.team_reviewers.clone(),
        assignees: spec.assignees.clone(),
        milestone: spec.milestone.clone(),
        draft: spec.draft,
    }
}

pub(super) fn merge(policy: pipeline_api::MergePolicy) -> MergePolicy {
    match policy {
        pipeline_api::MergePolicy::None => MergePolicy::None,
        pipeline_api::MergePolicy::Auto => MergePolicy::Auto,
        pipeline_api::MergePolicy::Immediate => MergePolicy::Immediate,
    }
}
