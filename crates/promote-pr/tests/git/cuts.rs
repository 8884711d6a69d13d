//! Connections that end somewhere in the middle.

use std::time::Duration;

use egress::Retry;
use promote_pr::git::{Error, Limits, Pushed};
use testbed::git_server::Step;
use testbed::{Fault, Rule};

use crate::bed::{Bed, NEEDLE, REPO, branch};

const CUTS: usize = 20;

/// Numbers below `end` that are spread like random ones, the same each time.
fn offsets(seed: u64, end: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    })
    .take(CUTS)
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn twenty_places_of_a_fetch() {
    for v0 in [false, true] {
        let mut bed = Bed::start().await;
        let noise: String = (0..20_000_u32).map(|i| format!("{:x}", i.wrapping_mul(2_654_435_761))).collect();
        bed.repo.commit("main", &[("noise.txt", noise)], "Weigh something").await.unwrap();
        bed.server.set_protocol_v0_only(REPO, v0);
        bed.fetch().await.unwrap();
        let whole = bed.requests(Step::Fetch).last().unwrap().sent;
        for offset in offsets(7, whole - 1) {
            bed.restart(Limits::default());
            std::fs::remove_dir_all(bed.stores().remove(0)).unwrap();
            if !v0 {
                // The list of refs goes the same way.
                bed.server.inject(Rule::once(Fault::Delay(Duration::ZERO)).on(Step::Fetch));
            }
            bed.server.inject(Rule::once(Fault::CutAnswer(offset)).on(Step::Fetch));
            let error = bed.fetch().await.unwrap_err();
            assert!(matches!(error, Error::Network { .. }), "{offset} of {whole}: {error:?}");
            assert_eq!(error.retry(), Retry::Later);
            let found = bed.fetch().await.unwrap().files_containing(NEEDLE).await.unwrap();
            assert_eq!(found.files.len(), 2, "after a cut at {offset} of {whole}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn twenty_places_of_a_push() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    bed.push(&base, "1.9.0", &branch("whole"), None).await.unwrap();
    let push = bed.requests(Step::Push).remove(0);
    let requests = offsets(1, push.received - 1).map(Fault::CutRequest);
    for (number, cut) in requests.chain(offsets(2, push.sent - 1).map(Fault::CutAnswer)).enumerate() {
        let head = branch(&format!("b{number}"));
        let text = format!("{cut:?}");
        let effect = matches!(cut, Fault::CutAnswer(_));
        bed.server.inject(Rule::once(cut).on(Step::Push));
        match bed.push(&base, "2.0.0", &head, None).await {
            Ok(pushed) => {
                assert!(effect, "{text}");
                assert_eq!(pushed, Pushed::Done(bed.tip(head.as_str()).await), "{text}");
            }
            Err(error) => {
                assert_eq!(error.retry(), Retry::Later, "{text}: {error:?}");
                // Where the answer was cut, the server may not have been done yet.
                let there = bed.repo.branches().await.unwrap().contains_key(head.as_str());
                assert!(effect || !there, "{text}");
                assert!(matches!(bed.push(&base, "2.0.0", &head, None).await.unwrap(), Pushed::Done(_)), "{text}");
            }
        }
        assert_eq!(bed.repo.log(&format!("main..{head}")).await.unwrap().len(), 1, "{text}");
    }
}
