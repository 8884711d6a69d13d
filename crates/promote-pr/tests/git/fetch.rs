use promote_pr::git::{Error, Found, Limits, SkipReason, Skipped};
use testbed::git_server::{Change, Step};

use crate::bed::{Bed, FILES, NEEDLE, PROD, branch, main};

fn paths(found: &Found) -> Vec<&str> {
    found.files.iter().map(|(path, _)| path.as_str()).collect()
}

/// How many commits the cache holds, as the real git sees them.
async fn cached_commits(bed: &Bed) -> usize {
    let [store] = &bed.stores()[..] else { panic!("{:?}", bed.stores()) };
    let git_dir = format!("--git-dir={}", store.display());
    let list = ["cat-file", "--batch-all-objects", "--batch-check"];
    let objects = bed.repo.git(&[&[git_dir.as_str()], &list[..]].concat()).await.unwrap();
    bed.repo.git(&[&git_dir, "fsck", "--strict", "--full"]).await.unwrap();
    objects.lines().filter(|line| line.contains(" commit ")).count()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_tip_and_its_manifests() {
    let bed = Bed::start().await;
    let snapshot = bed.fetch().await.unwrap();
    assert_eq!(snapshot.tip(), bed.tip("main").await);
    assert_eq!(snapshot.tree().to_string(), bed.repo.rev_parse("main^{tree}").await.unwrap());

    let found = snapshot.files_containing(NEEDLE).await.unwrap();
    let expect: Vec<_> =
        FILES[2..].iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect();
    assert_eq!(found, Found { files: expect, skipped: Vec::new() });
    assert_eq!(snapshot.file("README.md").await.unwrap().as_deref(), Some(FILES[0].1.as_bytes()));
    for none in ["absent", "apps", "README.md/x", "", "/README.md", "../README.md"] {
        assert_eq!(snapshot.file(none).await.unwrap(), None, "{none}");
    }
    assert_eq!(cached_commits(&bed).await, 1);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_server_of_protocol_version_0_sends_no_history_either() {
    let bed = Bed::start().await;
    bed.server.set_protocol_v0_only("team/fleet", true);
    for round in 1..4 {
        let snapshot = bed.fetch().await.unwrap();
        assert_eq!(snapshot.tip(), bed.tip("main").await);
        assert_eq!(paths(&snapshot.files_containing(NEEDLE).await.unwrap()).len(), 2);
        assert_eq!(cached_commits(&bed).await, round);
        for number in 0..3 {
            bed.repo
                .commit("main", &[("apps/dev/app.yaml", format!("tag: {round}.{number}\n"))], "Go on")
                .await
                .unwrap();
        }
    }
    assert!(matches!(bed.git.fetch(&bed.remote, &branch("nope")).await, Err(Error::BranchNotFound { .. })));
    assert_eq!(bed.git.refs(&bed.remote, "ma").await.unwrap(), [(main(), bed.tip("main").await)]);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_unchanged_tip_costs_no_pack() {
    let mut bed = Bed::start().await;
    bed.fetch().await.unwrap();
    assert_eq!(bed.server.requests().len(), 3, "handshake, refs, pack");
    bed.fetch().await.unwrap();
    assert_eq!(bed.server.requests().len(), 4, "refs");
    bed.restart(Limits::default());
    let snapshot = bed.fetch().await.unwrap();
    assert_eq!(bed.server.requests().len(), 6, "handshake and refs");
    assert_eq!(snapshot.files_containing(NEEDLE).await.unwrap().files.len(), 2);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_moved_tip_costs_what_changed() {
    let mut bed = Bed::start().await;
    let noise: String = (0..20_000_u32).map(|i| format!("{:x}", i.wrapping_mul(2_654_435_761))).collect();
    bed.repo.commit("main", &[("noise.txt", noise)], "Weigh something").await.unwrap();
    let old = bed.fetch().await.unwrap();
    let whole = bed.requests(Step::Fetch).last().unwrap().sent;
    let go_on = async |bed: &Bed, tag: &str| {
        let content = format!("tag: {tag} # $promotion\n");
        bed.repo.commit("main", &[("apps/dev/app.yaml", &content)], "Go on").await.unwrap();
        let new = bed.fetch().await.unwrap();
        let part = bed.requests(Step::Fetch).last().unwrap().sent;
        assert!(part * 20 < whole, "{part} of {whole} bytes");
        assert_eq!(new.file("apps/dev/app.yaml").await.unwrap().unwrap(), content.as_bytes());
        assert_eq!(paths(&new.files_containing(NEEDLE).await.unwrap())[0], "apps/dev/app.yaml");
    };
    go_on(&bed, "2.0.0").await;
    assert_eq!(old.file("apps/dev/app.yaml").await.unwrap().unwrap(), b"tag: 1.1.0\n");
    drop(old);
    bed.restart(Limits::default());
    go_on(&bed, "2.0.1").await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_branch_that_was_forced_elsewhere() {
    let bed = Bed::start().await;
    bed.fetch().await.unwrap();
    let before = cached_commits(&bed).await;
    for _ in 0..5 {
        bed.repo.commit("other", &[(PROD, "tag: 3 # $promotion\n")], "Start anew").await.unwrap();
    }
    bed.repo.set_branch("main", "other").await.unwrap();
    let snapshot = bed.fetch().await.unwrap();
    assert_eq!(snapshot.tip(), bed.tip("other").await);
    assert_eq!(paths(&snapshot.files_containing(NEEDLE).await.unwrap()), [PROD]);
    assert_eq!(cached_commits(&bed).await, before + 1);

    bed.repo.set_branch("main", "other~2").await.unwrap();
    assert_eq!(bed.fetch().await.unwrap().tip(), bed.tip("main").await);
    assert_eq!(cached_commits(&bed).await, before + 2);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_repository_of_one_commit_is_kept_over_a_restart() {
    let mut bed = Bed::start().await;
    bed.repo.set_branch("main", "main~1").await.unwrap();
    bed.fetch().await.unwrap();
    bed.restart(Limits::default());
    bed.fetch().await.unwrap();
    assert_eq!(bed.packs().len(), 1);
    bed.repo.commit("main", &[("new.yaml", "a: 1")], "Go on").await.unwrap();
    bed.restart(Limits::default());
    assert_eq!(bed.fetch().await.unwrap().tip(), bed.tip("main").await);
    assert_eq!(cached_commits(&bed).await, 2);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn no_such_branch_and_no_branch_at_all() {
    let bed = Bed::start().await;
    let error = bed.git.fetch(&bed.remote, &branch("mai")).await.unwrap_err();
    assert!(matches!(error, Error::BranchNotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("`mai`"), "{error}");
    assert_eq!(bed.git.head_commit(&bed.remote, &branch("mai")).await.unwrap(), None);
    assert_eq!(error.retry(), egress::Retry::Never);

    bed.server.create_repo::<&str>("team/empty", &[]).await.unwrap();
    let mut remote = bed.remote.clone();
    remote.url = bed.server.url("team/empty").as_str().parse().unwrap();
    for v0 in [false, true] {
        bed.server.set_protocol_v0_only("team/empty", v0);
        let error = bed.git.fetch(&remote, &main()).await.unwrap_err();
        assert!(matches!(error, Error::EmptyRepository { .. }), "{error:?}");
        assert_eq!(bed.git.head_commit(&remote, &main()).await.unwrap(), None);
        assert_eq!(bed.git.refs(&remote, "").await.unwrap(), []);
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_repository_with_other_hashes() {
    let bed = Bed::start().await;
    let path = bed.server.root().join("team/sha256.git");
    let init = ["init", "--quiet", "--bare", "--object-format=sha256", path.to_str().unwrap()];
    bed.repo.git(&init).await.unwrap();
    let mut remote = bed.remote.clone();
    remote.url = bed.server.url("team/sha256").as_str().parse().unwrap();
    let error = bed.git.fetch(&remote, &main()).await.unwrap_err();
    assert!(matches!(&error, Error::ObjectFormat { format, .. } if format == "sha256"), "{error:?}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn only_regular_manifests_are_read() {
    let bed = Bed::with_limits(Limits { file: 1000, ..Limits::default() }).await;
    let long = format!("# $promotion\n{}", "x".repeat(1000));
    let commit = "1234567890123456789012345678901234567890";
    bed.repo
        .commit_changes(
            "main",
            &[
                Change::Symlink("link.yaml", "apps/prod/app.yaml"),
                Change::Symlink("$promotion.yaml", "$promotion"),
                Change::Submodule("module.yaml", commit),
                Change::Write("long.yaml", long.as_bytes()),
                Change::Write(".github/flow.yml", b"$promotion"),
                Change::Write("ünïcode dir/a.json", b"\xff$promotion"),
                Change::Write("a.yaml.bak", b"$promotion"),
            ],
            "Put traps",
        )
        .await
        .unwrap();
    let snapshot = bed.fetch().await.unwrap();
    let found = snapshot.files_containing(NEEDLE).await.unwrap();
    assert_eq!(paths(&found), [".github/flow.yml", PROD, "apps/prod/other.yml", "ünïcode dir/a.json"]);
    assert_eq!(found.skipped, [Skipped { path: "long.yaml".to_owned(), reason: SkipReason::TooLong { limit: 1000 } }]);
    assert_eq!(snapshot.file("link.yaml").await.unwrap(), None);
    assert_eq!(snapshot.file("module.yaml").await.unwrap(), None);
    assert!(matches!(snapshot.file("long.yaml").await, Err(Error::Limit { limit: 1000, .. })));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn limits_are_named() {
    for (limits, what) in [
        (
            Limits { depth: 1, ..Limits::default() },
            "the depth of directories exceeds the limit `depth` of 1 at `apps/dev`",
        ),
        (
            Limits { entries: 3, ..Limits::default() },
            "the number of files and directories exceeds the limit `entries` of 3 at `apps/dev`",
        ),
        (
            Limits { found: 60, ..Limits::default() },
            "all files to be looked at exceeds the limit `found` of 60 at `apps/prod/other.yml`",
        ),
    ] {
        let bed = Bed::with_limits(limits).await;
        let error = bed.fetch().await.unwrap().files_containing(NEEDLE).await.unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(error.retry(), egress::Retry::Never);
    }

    let noise: String = (0..20_000_u32).map(|i| format!("{:x}", i.wrapping_mul(2_654_435_761))).collect();
    for limits in [Limits { pack: 20_000, ..Limits::default() }, Limits { object: 20_000, ..Limits::default() }] {
        let bed = Bed::with_limits(limits).await;
        bed.repo.commit("main", &[("noise.txt", &noise)], "Weigh too much").await.unwrap();
        let error = bed.fetch().await.unwrap_err();
        let text = anyhow::Error::from(error);
        assert!(format!("{text:#}").contains("20000"), "{text:#}");
        assert_eq!(bed.requests(Step::Fetch).len(), 2, "refs and one try of the pack");
    }
}
