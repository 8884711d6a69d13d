//! Approvals of promotions: which count, and what they change. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pipeline_api::metadata::{APPROVE, APPROVED_BY};
use pipeline_api::{Phase, Pipeline, PromotionStatus};

#[cfg(test)]
mod tests;

/// The longest annotation that is read, in bytes; what was acted on is kept in the status.
const ANNOTATION_MAX: usize = 16384;

/// A person's word that a revision may enter an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub environment: String,
    pub revision: String,
    /// The one promotion of the revision that is meant; none: the one that waits.
    pub sequence: Option<i32>,
    /// Who approves, for people.
    pub by: String,
}

/// Why an approval does not count.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    #[error("the Pipeline has no environment {0:?}")]
    UnknownEnvironment(String),
    #[error("nothing waits for approval in environment {0:?}")]
    NothingWaits(String),
    #[error("in environment {environment:?}, {waiting} waits for approval, not {revision}")]
    OtherRevision { environment: String, waiting: String, revision: String },
}

/// The record of the promotion that `approval` releases, with who approved it and when.
///
/// *Idempotency*: an approval counts for the one promotion that waits; what is approved waits no longer.
///
/// # Errors
/// Nothing waits there, or another revision does: an approval never applies to what it was not given for.
pub fn approve(pipeline: &Pipeline, approval: &Approval, now: Timestamp) -> Result<PromotionStatus, Refusal> {
    let Approval { environment, revision, sequence, by } = approval;
    if !pipeline.spec.environments.iter().any(|candidate| candidate.name == *environment) {
        return Err(Refusal::UnknownEnvironment(environment.clone()));
    }
    let status = pipeline.status.as_ref().and_then(|status| status.environments.get(environment));
    let waiting = status.and_then(|status| {
        let waiting = status.waiting_approval.as_ref()?;
        let record = status.promotion.as_ref()?;
        (record.phase == Phase::AwaitingApproval && record.revision == waiting.revision).then_some(record)
    });
    let Some(waiting) = waiting else {
        return Err(Refusal::NothingWaits(environment.clone()));
    };
    if waiting.revision != *revision || sequence.is_some_and(|sequence| sequence != waiting.sequence) {
        let (waiting, revision) = match sequence {
            Some(sequence) => (format!("{}#{}", waiting.revision, waiting.sequence), format!("{revision}#{sequence}")),
            None => (waiting.revision.clone(), revision.clone()),
        };
        return Err(Refusal::OtherRevision { environment: environment.clone(), waiting, revision });
    }
    Ok(PromotionStatus {
        phase: Phase::Pending,
        approved_by: Some(by.chars().take(253).collect()),
        approved_time: Some(Time(now)),
        ..waiting.clone()
    })
}

/// The annotations that put `approval` on the Pipeline, beside the approvals that were not acted on yet. Whoever receives
/// approvals elsewhere writes these, with the resourceVersion that was read.
///
/// # Errors
/// See [`approve`].
pub fn annotations(
    pipeline: &Pipeline,
    approval: &Approval,
    now: Timestamp,
) -> Result<BTreeMap<String, String>, Refusal> {
    let record = approve(pipeline, approval, now)?;
    let of_others = |word: &&str| parse(word).is_none_or(|(name, _)| name != approval.environment);
    let own = format!("{}={}#{}", approval.environment, record.revision, record.sequence);
    let words: Vec<&str> = fresh(pipeline).into_iter().filter(of_others).chain([own.as_str()]).collect();
    let by = (APPROVED_BY.to_owned(), approval.by.clone());
    Ok(BTreeMap::from([(APPROVE.to_owned(), words.join(" ")), by]))
}

/// The approvals that stand in the Pipeline's annotation and were not acted on yet.
pub(crate) fn given(pipeline: &Pipeline) -> Vec<Approval> {
    let by = given_by(pipeline);
    let approval = |word| {
        let (environment, revision) = parse(word)?;
        let (revision, sequence) = of_waiting(pipeline, environment, revision);
        Some(Approval { environment: environment.to_owned(), revision: revision.to_owned(), sequence, by: by.clone() })
    };
    fresh(pipeline).into_iter().filter_map(approval).collect()
}

/// The annotation as it stands, to be remembered once it was acted on.
pub(crate) fn annotation(pipeline: &Pipeline) -> Option<&str> {
    let annotation = pipeline.metadata.annotations.as_ref()?.get(APPROVE)?;
    (annotation.len() <= ANNOTATION_MAX).then_some(annotation.as_str())
}

fn fresh(pipeline: &Pipeline) -> Vec<&str> {
    let handled = pipeline.status.as_ref().and_then(|status| status.last_handled_approval.as_deref());
    let handled: Vec<&str> = handled.unwrap_or_default().split_whitespace().collect();
    let words = annotation(pipeline).unwrap_or_default().split_whitespace();
    words.filter(|word| !handled.contains(word)).collect()
}

fn parse(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(environment, revision)| !environment.is_empty() && !revision.is_empty())
}

/// `6.1.0#2` is the second promotion of 6.1.0, unless a revision of that very name waits.
fn of_waiting<'a>(pipeline: &Pipeline, environment: &str, text: &'a str) -> (&'a str, Option<i32>) {
    let status = pipeline.status.as_ref().and_then(|status| status.environments.get(environment));
    let waiting = status.and_then(|status| status.waiting_approval.as_ref());
    let numbered = text.rsplit_once('#').and_then(|(revision, sequence)| Some((revision, sequence.parse().ok()?)));
    match numbered {
        Some((revision, sequence)) if waiting.is_none_or(|waiting| waiting.revision != text) => {
            (revision, Some(sequence))
        }
        _ => (text, None),
    }
}

/// Who set the annotation: as they say, else as the API server saw.
fn given_by(pipeline: &Pipeline) -> String {
    let said = pipeline.metadata.annotations.as_ref().and_then(|annotations| annotations.get(APPROVED_BY));
    let pointer = format!("/f:metadata/f:annotations/f:{}", APPROVE.replace('/', "~1"));
    let owners = pipeline
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer(&pointer).is_some()));
    let seen =
        owners.max_by_key(|entry| entry.time.as_ref().map(|time| time.0)).and_then(|entry| entry.manager.as_ref());
    let who = said.filter(|said| !said.trim().is_empty()).or(seen);
    who.map_or_else(|| "unknown".to_owned(), |who| who.trim().to_owned())
}
