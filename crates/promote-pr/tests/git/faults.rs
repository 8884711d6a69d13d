use std::time::{Duration, Instant};

use egress::Retry;
use http::StatusCode;
use http::header::AUTHORIZATION;
use promote_pr::git::{Error, Limits, Pushed};
use secrecy::SecretString;
use testbed::faults::{Answer, Location};
use testbed::git_server::{Step, TOKEN};
use testbed::{Ca, Fault, GitServer, Hold, Rule, When};

use crate::bed::{Bed, NEEDLE, REPO, branch, main, within};

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn statuses_become_errors_that_say_what_to_do() {
    let mut bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    for (status, text, retry) in [
        (403, "the credentials do not allow", Retry::Never),
        (404, "no such repository", Retry::Never),
        (410, "no such repository", Retry::Never),
        (429, "fewer requests", Retry::After(Duration::from_secs(7))),
        (400, "the server answered 400", Retry::Never),
        (500, "the server answered 500", Retry::After(Duration::from_secs(7))),
        (503, "the server answered 503", Retry::After(Duration::from_secs(7))),
        (304, "the server answered 304", Retry::Never),
    ] {
        let code = StatusCode::from_u16(status).unwrap();
        for step in [Step::FetchRefs, Step::Fetch, Step::PushRefs, Step::Push] {
            bed.restart(Limits::default());
            let fault = Fault::retry_after(code, Duration::from_secs(7));
            bed.server.inject(Rule::once(fault).on(step));
            let error = match step {
                Step::FetchRefs | Step::Fetch => bed.fetch().await.map(drop),
                Step::PushRefs | Step::Push => bed.push(&base, "2.0.0", &branch("b"), None).await.map(drop),
            };
            let error = error.unwrap_err();
            assert!(error.to_string().contains(text), "{step:?} {status}: {error}");
            assert!(error.to_string().starts_with(bed.remote.url.as_str()), "{error}");
            assert_eq!(error.retry(), retry, "{step:?} {status}");
        }
    }
    assert_eq!(bed.repo.branches().await.unwrap().len(), 1);
    bed.push(&base, "2.0.0", &branch("b"), None).await.unwrap();
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn credentials_that_are_wrong_or_missing() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    for password in [None, Some("wrong-password")] {
        let mut remote = bed.remote.clone();
        remote.password = password.map(SecretString::from);
        remote.username = password.map(|_| "user".to_owned());
        for error in [
            bed.git.fetch(&remote, &main()).await.map(drop).unwrap_err(),
            bed.git.refs(&remote, "").await.map(drop).unwrap_err(),
            bed.git.delete_branch(&remote, &main(), base.tip()).await.map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
            assert_eq!(error.retry(), Retry::Never);
        }
    }
    let shown = format!("{:?} {:?} {:?}", bed.git, bed.remote, base);
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn text_of_servers_is_shown_without_the_credentials() {
    let bed = Bed::start().await;
    let mut answer = Answer::text(StatusCode::FORBIDDEN);
    answer.body = format!("token {TOKEN} lacks\r\n the scope \x1b[1mrepo{}", "!".repeat(10_000)).into();
    bed.server.inject(Rule::once(Fault::Answer(When::Before, answer)));
    let error = bed.fetch().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("token *** lacks the scope [1mrepo!!!"), "{text}");
    assert!(!format!("{error:?}").contains(TOKEN));
    assert!(text.chars().count() < 500);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_page_instead_of_git() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    bed.server.inject(Rule::always(Fault::html()));
    for error in [
        bed.fetch().await.map(drop).unwrap_err(),
        bed.push(&base, "2.0.0", &branch("b"), None).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::NotGit { content_type, .. } if content_type == "text/html"), "{error:?}");
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_redirect_within_the_origin_is_followed() {
    let mut bed = Bed::start().await;
    let mut moved = bed.remote.clone();
    moved.url = bed.server.url("old/name").as_str().parse().unwrap();
    bed.server.create_repo::<&str>("old/name", &[]).await.unwrap();
    let location = Location::Replace("old/name".to_owned(), REPO.to_owned());
    let redirect = Fault::Redirect(StatusCode::MOVED_PERMANENTLY, location);
    bed.server.inject(Rule::always(redirect).repo("old/name"));

    let base = bed.git.fetch(&moved, &main()).await.unwrap();
    assert_eq!(base.tip(), bed.tip("main").await);
    let deleted = bed.git.delete_branch(&moved, &branch("absent"), base.tip()).await.unwrap();
    assert_eq!(deleted, promote_pr::git::Deleted::Done);

    let loops = Location::Replace("old/name".to_owned(), "old/name".to_owned());
    bed.server.clear_faults();
    bed.restart(Limits::default());
    bed.server.inject(Rule::always(Fault::Redirect(StatusCode::FOUND, loops)).repo("old/name"));
    let error = bed.git.fetch(&moved, &main()).await.unwrap_err();
    assert!(error.to_string().contains("more than 5 in a row"), "{error}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_redirect_to_another_origin_is_not_followed() {
    let mut bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = GitServer::start(&Ca::generate(folder.path()).unwrap()).await.unwrap();
    for step in [Step::FetchRefs, Step::Fetch, Step::PushRefs, Step::Push] {
        bed.restart(Limits::default());
        let location = Location::Origin(elsewhere.origin().clone());
        bed.server.inject(Rule::once(Fault::Redirect(StatusCode::TEMPORARY_REDIRECT, location)).on(step));
        let error = match step {
            Step::FetchRefs | Step::Fetch => bed.fetch().await.map(drop),
            Step::PushRefs | Step::Push => bed.push(&base, "2.0.0", &branch("b"), None).await.map(drop),
        };
        let error = error.unwrap_err();
        assert_eq!(error.retry(), Retry::Never, "{error:?}");
        let text = error.to_string();
        let [from, to] = [bed.server.origin(), elsewhere.origin()].map(|url| url.origin().ascii_serialization());
        assert!(text.contains(&from) && text.contains(&to), "{step:?}: {text}");
    }
    assert!(elsewhere.requests().is_empty());
    assert!(bed.server.requests().iter().all(|request| request.headers.contains_key(AUTHORIZATION)));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_fetch_that_breaks_off_harms_nothing() {
    for v0 in [false, true] {
        let bed = Bed::start().await;
        bed.server.set_protocol_v0_only(REPO, v0);
        for bytes in [0, 1, 4, 50, 200, 300, 400, 500, 600, 800] {
            bed.server.inject(Rule::once(Fault::CutAnswer(bytes)).on(Step::FetchRefs));
            check_broken_off(bed.fetch().await.map(drop));
            if !v0 {
                bed.server.inject(Rule::once(Fault::Delay(Duration::ZERO)).on(Step::Fetch));
            }
            bed.server.inject(Rule::once(Fault::CutAnswer(bytes)).on(Step::Fetch));
            check_broken_off(bed.fetch().await.map(drop));
            bed.server.clear_faults();
        }
        let base = bed.fetch().await.unwrap();
        assert_eq!(base.files_containing(NEEDLE).await.unwrap().files.len(), 2);
        assert_eq!(bed.packs().len(), 1);
    }
}

/// A cut that came after the last byte is none.
fn check_broken_off(result: Result<(), Error>) {
    if let Err(error) = result {
        assert!(matches!(error, Error::Network { .. }), "{error:?}");
        assert_eq!(error.retry(), Retry::Later);
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_push_that_breaks_off_is_looked_up() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    for (number, fault) in [
        Fault::CutRequest(0),
        Fault::CutRequest(60),
        Fault::CutRequest(200),
        Fault::CutRequest(300),
        Fault::Drop(When::Before),
    ]
    .into_iter()
    .enumerate()
    {
        let head = branch(&format!("before-{number}"));
        bed.server.inject(Rule::once(fault.clone()).on(Step::Push));
        let error = bed.push(&base, "2.0.0", &head, None).await.unwrap_err();
        assert!(matches!(error, Error::Network { .. }), "{fault:?}: {error:?}");
        assert_eq!(error.retry(), Retry::Later);
        assert!(!bed.repo.branches().await.unwrap().contains_key(head.as_str()));
        assert!(matches!(bed.push(&base, "2.0.0", &head, None).await.unwrap(), Pushed::Done(_)));
    }
    for (number, fault) in [
        Fault::Drop(When::After),
        Fault::CutAnswer(0),
        Fault::CutAnswer(10),
        Fault::CutAnswer(30),
        Fault::Answer(When::After, Answer::text(StatusCode::BAD_GATEWAY)),
    ]
    .into_iter()
    .enumerate()
    {
        let head = branch(&format!("after-{number}"));
        let is_done_before_its_answer = !matches!(fault, Fault::CutAnswer(_));
        bed.server.inject(Rule::once(fault).on(Step::Push));
        let pushed = match bed.push(&base, "2.0.0", &head, None).await {
            Err(Error::Network { .. }) if !is_done_before_its_answer => {
                bed.push(&base, "2.0.0", &head, None).await.unwrap()
            }
            pushed => pushed.unwrap(),
        };
        assert_eq!(pushed, Pushed::Done(bed.tip(head.as_str()).await));
    }
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_branch_that_moved_after_a_lost_answer_is_stale() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    let hold = Hold::new();
    bed.server.inject(Rule::once(Fault::Hold(When::After, hold.clone())).on(Step::Push));
    let head = branch("b");
    let interfere = async {
        hold.reached().await.unwrap();
        let theirs = bed.repo.commit("b", &[("theirs", "1")], "Go on").await.unwrap();
        hold.break_off();
        theirs.parse().unwrap()
    };
    let (pushed, theirs) = tokio::join!(bed.push(&base, "2.0.0", &head, None), interfere);
    assert_eq!(pushed.unwrap(), Pushed::Stale { actual: Some(theirs) });
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_slow_server_meets_the_deadline() {
    let bed = Bed::with_limits(within(Duration::from_secs(1))).await;
    for fault in [Fault::Delay(Duration::from_secs(60)), Fault::Slow(Duration::from_secs(60))] {
        bed.server.inject(Rule::once(fault).on(Step::Fetch));
        let start = Instant::now();
        let error = bed.fetch().await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        assert_eq!(error.retry(), Retry::Later, "{error:?}");
        bed.fetch().await.unwrap();
        bed.repo.commit("main", &[("x", "1")], "Go on").await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_fetch_that_nobody_waits_for_lets_go_of_the_cache() {
    let bed = Bed::start().await;
    let hold = Hold::new();
    bed.server.inject(Rule::once(Fault::Hold(When::Before, hold.clone())).on(Step::Fetch));
    tokio::select! {
        result = bed.fetch() => panic!("{result:?}"),
        reached = hold.reached() => reached.unwrap(),
    }
    let again = tokio::time::timeout(Duration::from_secs(10), bed.fetch()).await;
    assert_eq!(again.unwrap().unwrap().tip(), bed.tip("main").await);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_answer_that_never_ends_is_cut() {
    let bed = Bed::with_limits(Limits { listing: 1 << 20, ..Limits::default() }).await;
    let mut answer = Answer::text(StatusCode::OK);
    answer.headers.insert(http::header::CONTENT_TYPE, "application/x-git-upload-pack-advertisement".parse().unwrap());
    answer.body = b"001e# service=git-upload-pack\n".repeat(2_000_000).into();
    bed.server.inject(Rule::once(Fault::Answer(When::Before, answer)).on(Step::FetchRefs));
    let error = anyhow::Error::from(bed.fetch().await.unwrap_err());
    assert!(format!("{error:#}").contains("exceeds the limit `listing` of 1048576"), "{error:#}");
}
