//! Records of promotions: how one begins, gives way to another and is remembered.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pipeline_api::normalized::Strategy;
use pipeline_api::{HISTORY_MAX, Phase, Pipeline, PromotionStatus, Repository};

use crate::key;

/// The record of a promotion that begins.
pub(crate) fn start(
    pipeline: &Pipeline,
    environment: &str,
    revision: &str,
    sequence: u32,
    now: Timestamp,
) -> PromotionStatus {
    PromotionStatus {
        id: key::of(pipeline, environment, revision, sequence).id().to_string(),
        revision: revision.to_owned(),
        sequence: i32::try_from(sequence).unwrap_or(i32::MAX),
        phase: Phase::Pending,
        url: None,
        attempts: 0,
        last_attempt_time: None,
        next_attempt_time: None,
        started_time: Some(Time(now)),
        finished_time: None,
        approved_by: None,
        approved_time: None,
        message: None,
        observed_generation: pipeline.metadata.generation,
        secret_version: None,
        repository: None,
    }
}

/// The record once another revision, or nothing, takes the promotion's place.
pub(super) fn superseded(record: PromotionStatus, now: Timestamp) -> PromotionStatus {
    if record.finished_time.is_some() && record.phase != Phase::Failed {
        return record;
    }
    let finished_time = Some(Time(now));
    PromotionStatus { phase: Phase::Superseded, finished_time, next_attempt_time: None, message: None, ..record }
}

/// The sequence of the next promotion of `revision`. Those that are remembered had their end, and so had their branches and pull
/// requests.
pub(super) fn next_sequence(history: &[PromotionStatus], revision: &str) -> u32 {
    let last = history.iter().rfind(|record| record.revision == revision);
    last.map_or(1, |last| sequence(last).saturating_add(1))
}

/// The pull request of a promotion that was merged and became live.
pub(super) fn merged_url(record: &PromotionStatus) -> Option<String> {
    record.url.clone().filter(|_| record.phase == Phase::Succeeded)
}

pub(crate) fn sequence(record: &PromotionStatus) -> u32 {
    u32::try_from(record.sequence).unwrap_or(1).max(1)
}

/// The newest of the promotions that ended.
pub(super) fn newest(mut history: Vec<PromotionStatus>) -> Vec<PromotionStatus> {
    let surplus = history.len().saturating_sub(HISTORY_MAX);
    history.drain(..surplus);
    history
}

/// Whether a pull request of the promotion may be open on a host, for all that is known.
pub(crate) fn may_be_open(record: &PromotionStatus) -> bool {
    match record.phase {
        Phase::Open => true,
        Phase::Pending | Phase::Failed => record.repository.is_some(),
        Phase::Superseded => is_closing(record),
        Phase::AwaitingApproval | Phase::Delivered | Phase::Succeeded | Phase::AlreadyApplied | Phase::Closed => false,
    }
}

/// Whether the promotion has given way, and its pull request is still to be closed.
pub(crate) fn is_closing(record: &PromotionStatus) -> bool {
    record.phase == Phase::Superseded && record.finished_time.is_none() && record.repository.is_some()
}

/// The record of a promotion that gives way; its pull request is closed once that is on record.
pub(super) fn closing(record: PromotionStatus, repository: Repository, reason: &str) -> PromotionStatus {
    PromotionStatus {
        phase: Phase::Superseded,
        repository: Some(repository),
        message: Some(reason.to_owned()),
        attempts: 0,
        next_attempt_time: None,
        finished_time: None,
        ..record
    }
}

/// Whether a pull request may be open in a place to which the promotion does not go any more.
pub(super) fn is_elsewhere(record: &PromotionStatus, strategy: &Strategy) -> bool {
    let Some(repository) = record.repository.as_ref().filter(|_| may_be_open(record)) else {
        return false;
    };
    match strategy {
        Strategy::PullRequest(pull_request) => pull_request.url.as_str() != repository.url,
        Strategy::Webhook(_) | Strategy::Notification => true,
    }
}

/// Where a promotion by `strategy` opens its pull request.
pub(super) fn repository(strategy: &Strategy) -> Option<Repository> {
    match strategy {
        Strategy::PullRequest(pull_request) => Some(Repository::of(pull_request)),
        Strategy::Webhook(_) | Strategy::Notification => None,
    }
}
