//! What promotions that come close upon each other share, and what a server is not asked again.

use futures::future::try_join_all;
use http::StatusCode;
use promote_pr::git::{Error, Limits, Pushed};
use testbed::faults::Location;
use testbed::git_server::Step;
use testbed::{Fault, Hold, Rule, When};

use crate::bed::{Bed, NEEDLE, REPO, branch, main};

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_warm_promotion_takes_three_requests() {
    let bed = Bed::start().await;
    let promote = async |round: usize| {
        let before = bed.server.requests().len();
        let head = branch(&format!("promotion/{round}"));
        let (base, heads) = bed.git.fetch_and_list(&bed.remote, &main(), "promotion/").await.unwrap();
        assert_eq!(heads.len(), round);
        assert!(base.files_containing(NEEDLE).await.unwrap().files.len() >= 2);
        assert!(matches!(bed.push(&base, "2.0.0", &head, None).await.unwrap(), Pushed::Done(_)));
        bed.server.requests()[before..].iter().map(|request| request.step.unwrap()).collect::<Vec<_>>()
    };
    let cold = [Step::FetchRefs, Step::Fetch, Step::Fetch, Step::PushRefs, Step::Push];
    assert_eq!(promote(0).await, cold);
    assert_eq!(promote(1).await, [Step::Fetch, Step::Push], "nothing changed: refs, push");
    bed.repo.commit("main", &[("new.yaml", "a: 1 # $promotion")], "Go on").await.unwrap();
    assert_eq!(promote(2).await, [Step::Fetch, Step::Fetch, Step::Push], "refs, pack, push");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_look_is_shared_by_those_who_asked_before_it_began() {
    let bed = Bed::start().await;
    bed.fetch().await.unwrap();
    let hold = Hold::new();
    bed.server.inject(Rule::once(Fault::Hold(When::After, hold.clone())).on(Step::Fetch));
    let old = bed.tip("main").await;
    let before = bed.server.requests().len();
    let rest = async {
        hold.reached().await.unwrap();
        // The answer that is held does not know of this commit: who comes now must not get it.
        let new = bed.repo.commit("main", &[("x.yaml", "1")], "Go on").await.unwrap();
        let late = (0..30).map(|number| {
            let (bed, prefix) = (&bed, if number % 2 == 0 { "ma" } else { "absent" });
            async move { bed.git.fetch_and_list(&bed.remote, &main(), prefix).await.map(|found| (number, found)) }
        });
        let release = async {
            tokio::task::yield_now().await;
            hold.release();
            Ok::<_, Error>(())
        };
        let late = try_join_all(late);
        let (late, ()) = futures::try_join!(late, release).unwrap();
        for (number, (snapshot, heads)) in late {
            assert_eq!(snapshot.tip().to_string(), new);
            assert_eq!(heads.len(), usize::from(number % 2 == 0));
        }
    };
    let (first, ()) = tokio::join!(bed.fetch(), rest);
    assert_eq!(first.unwrap().tip(), old);
    assert_eq!(bed.server.requests().len() - before, 3, "two looks and a pack for 31 callers");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn who_waits_is_not_failed_by_another() {
    let bed = Bed::start().await;
    bed.server.inject(Rule::once(Fault::status(StatusCode::BAD_GATEWAY)).on(Step::FetchRefs));
    let results = futures::future::join_all((0..5).map(|_| bed.fetch())).await;
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    let absent = branch("absent");
    let fetches = (0..6).map(|number| {
        let (bed, branch) = (&bed, if number % 2 == 0 { main() } else { absent.clone() });
        async move { bed.git.fetch(&bed.remote, &branch).await.is_ok() }
    });
    assert_eq!(futures::future::join_all(fetches).await, [true, false, true, false, true, false]);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_server_that_changed_is_asked_again() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    bed.push(&base, "2.0.0", &branch("a"), None).await.unwrap();
    for (number, v0) in [true, false].into_iter().enumerate() {
        bed.server.set_protocol_v0_only(REPO, v0);
        bed.repo.commit("main", &[("x.yaml", format!("{v0}"))], "Go on").await.unwrap();
        let base = bed.fetch().await.unwrap();
        assert_eq!(base.tip(), bed.tip("main").await);
        bed.push(&base, "2.0.0", &branch(&format!("b{number}")), None).await.unwrap();
    }
    // The repository moves: only the first request of a conversation may be redirected.
    bed.server.create_repo::<&str>("new/name", &[]).await.unwrap();
    let from = bed.repo.path.to_str().unwrap().to_owned();
    let moved = bed.server.repo("new/name").unwrap();
    moved.git(&["fetch", "--quiet", &from, "refs/heads/*:refs/heads/*"]).await.unwrap();
    let location = Location::Replace(REPO.to_owned(), "new/name".to_owned());
    bed.server.inject(Rule::always(Fault::Redirect(StatusCode::PERMANENT_REDIRECT, location)).repo(REPO));
    let base = bed.fetch().await.unwrap();
    assert!(matches!(bed.push(&base, "2.0.0", &branch("c"), None).await.unwrap(), Pushed::Done(_)));
    assert!(moved.branches().await.unwrap().contains_key("c"));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn blobs_that_did_not_change_are_not_read_again() {
    let mut bed = Bed::start().await;
    let noise: String = (0..20_000_u32).map(|i| format!("{:x}", i.wrapping_mul(2_654_435_761))).collect();
    bed.repo.commit("main", &[("noise.yaml", noise)], "Weigh something").await.unwrap();
    let count = async |bed: &Bed| Ok::<_, Error>(bed.fetch().await?.files_containing(NEEDLE).await?.files.len());
    assert_eq!(count(&bed).await.unwrap(), 2);
    // The noise makes up most of the pack, and holds its middle.
    let length = std::fs::metadata(&bed.packs()[0]).unwrap().len();
    crate::cache::damage(&bed.packs()[0], length / 2);
    bed.repo.commit("main", &[("new.yaml", "a: 1 # $promotion")], "Go on").await.unwrap();
    assert_eq!(count(&bed).await.unwrap(), 3);
    bed.restart(Limits::default());
    count(&bed).await.unwrap_err();
    assert_eq!(count(&bed).await.unwrap(), 3, "fetched anew");
}
