//! Which of two revisions is the older one.

use pipeline_api::{EnvironmentStatus, Phase};
use semver::Version;

/// Whether `revision` is older than `running`: by semantic versions where both are, else by what the environment ran before.
pub(super) fn is_older(revision: &str, running: &str, status: &EnvironmentStatus) -> bool {
    match (version(revision), version(running)) {
        (Some(revision), Some(running)) => revision.cmp_precedence(&running).is_lt(),
        _ => was_live_before(revision, running, status),
    }
}

/// `v6.1.0` and an OCI tag before its digest, `6.1.0@sha256:…`, are versions too.
fn version(revision: &str) -> Option<Version> {
    let tag = revision.split_once('@').map_or(revision, |(tag, _digest)| tag);
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

fn was_live_before(revision: &str, running: &str, status: &EnvironmentStatus) -> bool {
    let promotions: Vec<_> = status.history.iter().chain(&status.promotion).collect();
    let last_live = |wanted: &str| {
        promotions.iter().rposition(|promotion| {
            promotion.revision == wanted && matches!(promotion.phase, Phase::Succeeded | Phase::AlreadyApplied)
        })
    };
    matches!((last_live(revision), last_live(running)), (Some(revision), Some(running)) if revision < running)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_decide_where_both_are_versions_and_history_elsewhere() {
        let status = |live: &[&str]| -> EnvironmentStatus {
            let history: Vec<_> = live
                .iter()
                .map(|revision| {
                    serde_json::json!({"id": "a", "revision": revision, "sequence": 1, "phase": "Succeeded", "attempts": 0})
                })
                .collect();
            serde_json::from_value(serde_json::json!({"history": history})).unwrap()
        };
        let check = |revision: &str, running: &str, live: &[&str], expected: bool| {
            assert_eq!(is_older(revision, running, &status(live)), expected, "{revision} {running} {live:?}");
        };
        check("6.0.0", "6.1.0", &[], true);
        check("6.10.0", "6.9.0", &[], false);
        check("v6.0.0", "6.1.0", &[], true);
        check("6.1.0-rc.1", "6.1.0", &[], true);
        check("6.1.0+build.1", "6.1.0+build.2", &["6.1.0+build.1", "6.1.0+build.2"], false);
        check("6.0.0@sha256:ff", "6.1.0@sha256:00", &[], true);
        check("6.2.0", "6.1.0", &["6.2.0", "6.1.0"], false);
        check("main@sha1:aa", "main@sha1:bb", &["main@sha1:aa", "main@sha1:bb"], true);
        check("main@sha1:aa", "main@sha1:bb", &["main@sha1:bb", "main@sha1:aa"], false);
        check("main@sha1:aa", "main@sha1:bb", &["main@sha1:bb"], false);
        check("main@sha1:aa", "main@sha1:bb", &["main@sha1:aa"], false);
        check("main@sha1:aa", "6.1.0", &["main@sha1:aa", "6.1.0"], true);
    }
}
