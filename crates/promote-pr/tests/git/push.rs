use promote_pr::git::{Change, Deleted, Error, Limits, Pushed};
use testbed::git_server::{Change as Put, Hook, Step};
use testbed::{Fault, Hold, Rule, When};

use crate::bed::{Bed, NEEDLE, PROD, author, branch, main, prod};

fn done(pushed: Pushed) -> promote_pr::CommitId {
    match pushed {
        Pushed::Done(id) => id,
        Pushed::Stale { actual } => panic!("stale: {actual:?}"),
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_new_branch_holds_exactly_the_edit() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    let head = branch("promotion/default/app/prod/2.0.0-0a1b2c3d");
    let id = done(bed.push(&base, "2.0.0", &head, None).await.unwrap());

    assert_eq!(bed.tip(head.as_str()).await, id);
    assert_eq!(bed.tip("main").await, base.tip());
    let diff = bed.repo.diff("main", head.as_str()).await.unwrap();
    let lines: Vec<&str> = diff.lines().filter(|line| line.starts_with(['+', '-'])).collect();
    let (old, new) = (prod("1.0.0"), prod("2.0.0"));
    let expect = [
        format!("--- a/{PROD}"),
        format!("+++ b/{PROD}"),
        format!("-{}", old.trim_end()),
        format!("+{}", new.trim_end()),
    ];
    assert_eq!(lines, expect);
    let log = bed.repo.log(&format!("main..{head}")).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].author, "Pipeline Controller <bot@example.com>");
    assert_eq!(log[0].parents, [base.tip().to_string()]);
    assert_eq!(log[0].message.trim_end(), "Promote app\n\nPromotion-Id: 1");
    let format = "--format=%an <%ae> %ad|%cn <%ce> %cd";
    let signed = bed.repo.git(&["log", "-1", "--date=raw", format, head.as_str()]).await.unwrap();
    let line = "Pipeline Controller <bot@example.com> 1767323045 +0000";
    assert_eq!(signed.trim_end(), format!("{line}|{line}"));
    bed.repo.fsck().await.unwrap();

    let info = bed.git.head_commit(&bed.remote, &head).await.unwrap().unwrap();
    assert_eq!((info.id, info.parents), (id, vec![base.tip()]));
    assert_eq!(info.message, "Promote app\n\nPromotion-Id: 1\n");
    assert_eq!(info.tree, base.tree_with(&[(PROD, new.as_bytes())]).await.unwrap());
    assert_eq!(base.tree_with(&[]).await.unwrap(), base.tree());
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn pushing_again_changes_nothing() {
    let mut bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    let first = done(bed.push(&base, "2.0.0", &branch("b"), None).await.unwrap());
    let second = done(bed.push(&base, "2.0.0", &branch("b"), None).await.unwrap());
    assert_eq!(first, second);
    bed.restart(Limits::default());
    let third = done(bed.push(&base, "2.0.0", &branch("b"), None).await.unwrap());
    assert_eq!(first, third);
    assert_eq!(bed.requests(Step::Push).len(), 2, "the third was seen to be there already");
    assert_eq!(bed.repo.log("main..b").await.unwrap().len(), 1);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_branch_is_updated_only_from_where_it_is_expected() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    let head = branch("b");
    let first = done(bed.push(&base, "2.0.0", &head, None).await.unwrap());
    bed.repo.commit("main", &[("apps/dev/app.yaml", "tag: 9\n")], "Go on").await.unwrap();
    let moved = bed.fetch().await.unwrap();
    assert_eq!(bed.push(&moved, "2.0.0", &head, None).await.unwrap(), Pushed::Stale { actual: Some(first) });
    let wrong = Some(base.tip());
    assert_eq!(bed.push(&moved, "2.0.0", &head, wrong).await.unwrap(), Pushed::Stale { actual: Some(first) });
    assert_eq!(bed.push(&moved, "2.0.0", &branch("c"), wrong).await.unwrap(), Pushed::Stale { actual: None });

    let second = done(bed.push(&moved, "2.0.0", &head, Some(first)).await.unwrap());
    assert_eq!(bed.tip("b").await, second);
    let onto_itself = bed.git.fetch(&bed.remote, &head).await.unwrap();
    let third = done(bed.push(&onto_itself, "3.0.0", &head, Some(second)).await.unwrap());
    assert_eq!(bed.repo.log("main..b").await.unwrap().len(), 2);
    assert_eq!(bed.tip("b").await, third);
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn somebody_who_is_quicker_is_not_overwritten() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    let head = branch("b");
    for expected in [None, Some(base.tip())] {
        if expected.is_some() {
            bed.repo.set_branch("b", "main").await.unwrap();
        }
        let hold = Hold::new();
        bed.server.inject(Rule::once(Fault::Hold(When::Before, hold.clone())).on(Step::Push));
        let interfere = async {
            hold.reached().await.unwrap();
            let theirs = bed.repo.commit("b", &[("theirs", "1")], "Be quicker").await.unwrap();
            hold.release();
            theirs.parse().unwrap()
        };
        let (pushed, theirs) = tokio::join!(bed.push(&base, "2.0.0", &head, expected), interfere);
        assert_eq!(pushed.unwrap(), Pushed::Stale { actual: Some(theirs) });
        assert_eq!(bed.tip("b").await, theirs);
    }
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn two_writers_lose_no_update() {
    let bed = Bed::start().await;
    bed.repo.set_branch("b", "main").await.unwrap();
    let head = branch("b");
    let write = async |writer: &str| {
        for round in 0..50 {
            loop {
                let base = bed.git.fetch(&bed.remote, &head).await.unwrap();
                let tag = format!("{writer}.{round}");
                match bed.push(&base, &tag, &head, Some(base.tip())).await {
                    Ok(Pushed::Done(_)) => break,
                    Ok(Pushed::Stale { .. }) | Err(Error::NotWritten { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    };
    tokio::join!(write("one"), write("two"));
    assert_eq!(bed.repo.log("main..b").await.unwrap().len(), 100);
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_hook_says_why() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    for (hook, reason) in [(Hook::PreReceive, "pre-receive hook declined"), (Hook::Update, "hook declined")] {
        bed.repo.refuse_pushes(hook, "Branches must be named \x1b[1mfeature/*\x1b[0m\nAsk the platform team.").unwrap();
        let error = bed.push(&base, "2.0.0", &branch("b"), None).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(reason) && text.contains("feature/*") && text.contains("Ask the platform team."),
            "{text}"
        );
        assert!(!text.contains(char::is_control), "{text:?}");
        bed.repo.accept_pushes();
    }
    bed.repo.refuse_pushes(Hook::PreReceive, &"much text\n".repeat(200_000)).unwrap();
    let error = bed.push(&base, "2.0.0", &branch("b"), None).await.unwrap_err();
    assert!(error.to_string().chars().count() < 500, "{error}");
    assert!(!bed.repo.branches().await.unwrap().contains_key("b"));
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn branches_are_listed_and_deleted() {
    let bed = Bed::start().await;
    let tip = bed.tip("main").await;
    for name in ["promotion/a/1", "promotion/a/2", "promotion/ab/1"] {
        bed.repo.set_branch(name, "main").await.unwrap();
    }
    let names = async |prefix| {
        let refs = bed.git.refs(&bed.remote, prefix).await.unwrap();
        assert!(refs.iter().all(|(_, id)| *id == tip));
        refs.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("promotion/a/").await, ["promotion/a/1", "promotion/a/2"]);
    assert_eq!(names("promotion/a").await.len(), 3);
    assert_eq!(names("").await.len(), 4);

    let one = branch("promotion/a/1");
    let moved = bed.repo.commit("promotion/a/1", &[("x", "1")], "Move").await.unwrap().parse().unwrap();
    assert_eq!(bed.git.delete_branch(&bed.remote, &one, tip).await.unwrap(), Deleted::Stale { actual: moved });
    assert_eq!(bed.git.delete_branch(&bed.remote, &one, moved).await.unwrap(), Deleted::Done);
    assert_eq!(bed.git.delete_branch(&bed.remote, &one, moved).await.unwrap(), Deleted::Done);
    assert_eq!(bed.git.refs(&bed.remote, "promotion/a/").await.unwrap(), [(branch("promotion/a/2"), tip)]);
    let error = bed.git.delete_branch(&bed.remote, &main(), tip).await.unwrap_err();
    assert!(error.to_string().contains("deletion of the current branch prohibited"), "{error}");
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn only_regular_files_are_changed() {
    let bed = Bed::start().await;
    bed.repo.commit_changes("main", &[Put::Symlink("link", "README.md")], "Link").await.unwrap();
    let base = bed.fetch().await.unwrap();
    let attempt = async |path: &str, content: &[u8]| {
        let change = Change {
            files: &[(path, content)],
            message: "m",
            author: &author(),
            committer: None,
            signing: None,
            when: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        bed.git.commit_and_push(&bed.remote, &base, change, &branch("b"), None).await
    };
    for path in ["link", "apps", "absent.yaml", "README.md/x", "../x", ""] {
        let error = attempt(path, b"x").await.unwrap_err();
        assert!(matches!(error, Error::NotAFile { .. }), "{path}: {error:?}");
    }
    let same = prod("1.0.0");
    assert!(matches!(attempt(PROD, same.as_bytes()).await, Err(Error::NothingToCommit { .. })));
    assert!(base.tree_with(&[("link", b"x")]).await.is_err());
    assert_eq!(bed.requests(Step::PushRefs).len(), 0, "nothing was sent");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_changed_file_keeps_its_mode() {
    let bed = Bed::start().await;
    let git = async |args: &[&str]| bed.repo.git(args).await.unwrap().trim_end().to_owned();
    let blob = bed.repo.rev_parse("main:README.md").await.unwrap();
    git(&["read-tree", "main"]).await;
    git(&["update-index", "--add", "--cacheinfo", &format!("100755,{blob},run.json")]).await;
    let tree = git(&["write-tree"]).await;
    let commit = git(&["commit-tree", &tree, "-p", "main", "-m", "Add a script"]).await;
    bed.repo.set_branch("main", &commit).await.unwrap();

    let base = bed.fetch().await.unwrap();
    assert_eq!(base.files_containing(NEEDLE).await.unwrap().files.len(), 3);
    let files: [(&str, &[u8]); 2] = [("run.json", b"x"), (PROD, b"y")];
    let when = "2026-01-01T00:00:00Z".parse().unwrap();
    let change = Change { files: &files, message: "m", author: &author(), committer: None, signing: None, when };
    done(bed.git.commit_and_push(&bed.remote, &base, change, &branch("b"), None).await.unwrap());
    let raw = git(&["diff", "--raw", "--no-renames", "main", "b"]).await;
    let modes: Vec<&str> = raw.lines().map(|line| line.split_at(14).0).collect();
    assert_eq!(modes, [":100644 100644", ":100755 100755"], "{raw}");
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn authors_that_would_break_the_commit() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    for (name, email) in [("", "a@b"), ("a", " "), ("a <b>", "a@b"), ("a", "a@b\ncommitter x")] {
        let author = promote_pr::git::Author { name: name.to_owned(), email: email.to_owned() };
        let change = Change {
            files: &[(PROD, b"x")],
            message: "m",
            author: &author,
            committer: None,
            signing: None,
            when: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        let error = bed.git.commit_and_push(&bed.remote, &base, change, &branch("b"), None).await.unwrap_err();
        assert!(matches!(error, Error::Author { .. }), "{error:?}");
    }
    let change = Change {
        files: &[(PROD, b"x")],
        message: "Subject\0\n\nBody\r\n\n\n",
        author: &author(),
        committer: None,
        signing: None,
        when: "1969-12-31T23:59:59Z".parse().unwrap(),
    };
    done(bed.git.commit_and_push(&bed.remote, &base, change, &branch("b"), None).await.unwrap());
    bed.repo.fsck().await.unwrap();
}
