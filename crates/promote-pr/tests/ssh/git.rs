use promote_pr::git::{Deleted, Error, Limits, Pushed};
use testbed::git_server::Hook;
use testbed::ssh_server::{Key, Settings};

use crate::bed::{Bed, NEEDLE, PROD, branch, main, prod, told};

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_change_is_fetched_made_and_pushed() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    assert_eq!(base.tip(), bed.tip("main").await);
    let found = base.files_containing(NEEDLE).await.unwrap();
    assert_eq!(found.files, [(PROD.to_owned(), prod("1.0.0").into_bytes())]);

    let pushed = bed.push(&base, "2.0.0", "promotion/a").await.unwrap();
    assert_eq!(pushed, Pushed::Done(bed.tip("promotion/a").await));
    assert_eq!(bed.push(&base, "2.0.0", "promotion/a").await.unwrap(), pushed);
    let diff = bed.repo.diff("main", "promotion/a").await.unwrap();
    let lines: Vec<&str> = diff.lines().filter(|line| line.starts_with(['+', '-'])).skip(2).collect();
    assert_eq!(lines, [format!("-{}", prod("1.0.0").trim_end()), format!("+{}", prod("2.0.0").trim_end())]);

    let tip = bed.tip("promotion/a").await;
    let info = bed.git.head_commit(&bed.remote, &branch("promotion/a")).await.unwrap().unwrap();
    assert_eq!((info.id, info.parents), (tip, vec![base.tip()]));
    assert_eq!(bed.git.refs(&bed.remote, "promotion/").await.unwrap(), [(branch("promotion/a"), tip)]);
    let deleted = bed.git.delete_branch(&bed.remote, &branch("promotion/a"), tip).await.unwrap();
    assert_eq!(deleted, Deleted::Done);
    assert_eq!(bed.branches().await, ["main"]);
    bed.repo.fsck().await.unwrap();

    // All of it over one connection, and the key was used once.
    assert_eq!((bed.ssh.connections().unwrap(), bed.ssh.logins().unwrap()), (1, 1), "{}", bed.ssh.log().unwrap());
    assert!(bed.server.requests().is_empty());
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn one_commit_is_fetched_whichever_protocol_is_spoken() {
    for git_protocol in [true, false] {
        let bed = Bed::with(&Settings { git_protocol, ..Settings::default() }, Limits::default()).await;
        let first = bed.fetch().await.unwrap();
        assert_eq!(bed.git.head_commit(&bed.remote, &main()).await.unwrap().unwrap().parents.len(), 1);
        // Were history fetched as well, the parent would be there.
        let parent = bed.repo.rev_parse("main~1").await.unwrap();
        let shallow = bed.shallow();
        assert_eq!(shallow.trim(), first.tip().to_string());
        assert!(!shallow.contains(&parent));

        bed.repo.commit("main", &[(PROD, prod("1.5.0"))], "Go on").await.unwrap();
        let second = bed.fetch().await.unwrap();
        assert_eq!(second.tip(), bed.tip("main").await);
        assert_eq!(second.file(PROD).await.unwrap().unwrap(), prod("1.5.0").into_bytes());
        assert_eq!(bed.fetch().await.unwrap().tip(), second.tip());
        bed.push(&second, "2.0.0", "b").await.unwrap();
        bed.repo.fsck().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_branch_is_written_only_from_where_it_is_expected() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    let Pushed::Done(first) = bed.push(&base, "2.0.0", "b").await.unwrap() else { panic!("stale") };
    let push = async |tag: &str, expected| bed.push_to(&bed.remote, &base, &prod(tag), "b", expected).await.unwrap();
    assert_eq!(push("3.0.0", None).await, Pushed::Stale { actual: Some(first) });
    assert_eq!(push("3.0.0", Some(base.tip())).await, Pushed::Stale { actual: Some(first) });
    assert!(matches!(push("3.0.0", Some(first)).await, Pushed::Done(_)));
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn two_writers_lose_no_update() {
    let bed = Bed::start().await;
    bed.repo.set_branch("b", "main").await.unwrap();
    let write = async |writer: &str| {
        for round in 0..5 {
            loop {
                let base = bed.git.fetch(&bed.remote, &branch("b")).await.unwrap();
                let content = prod(&format!("{writer}.{round}"));
                match bed.push_to(&bed.remote, &base, &content, "b", Some(base.tip())).await {
                    Ok(Pushed::Done(_)) => break,
                    Ok(Pushed::Stale { .. }) | Err(Error::NotWritten { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    };
    tokio::join!(write("one"), write("two"));
    assert_eq!(bed.repo.log("main..b").await.unwrap().len(), 10);
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_hook_says_why() {
    let bed = Bed::start().await;
    let base = bed.fetch().await.unwrap();
    bed.repo.refuse_pushes(Hook::PreReceive, "Ask the platform team.").unwrap();
    let error = bed.push(&base, "2.0.0", "b").await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("Ask the platform team."), "{error}");
    assert_eq!(bed.branches().await, ["main"]);
    bed.repo.accept_pushes();
    bed.push(&base, "2.0.0", "b").await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_is_not_there_is_told() {
    let bed = Bed::start().await;
    let error = bed.git.fetch(&bed.remote, &branch("absent")).await.unwrap_err();
    assert!(matches!(error, Error::BranchNotFound { .. }), "{error:?}");
    bed.server.create_repo::<&str>("team/empty", &[]).await.unwrap();
    let at = |path: &str| {
        let mut remote = bed.remote.clone();
        remote.url = bed.ssh.url(path).unwrap().as_str().parse().unwrap();
        remote
    };
    let error = bed.git.fetch(&at("team/empty"), &main()).await.unwrap_err();
    assert!(matches!(error, Error::EmptyRepository { .. }), "{error:?}");
    // The shell on the server takes the path as it is.
    for path in ["team/absent", "a'b;touch pwned;'", "$(touch pwned)", "a%20b%27%60touch%20pwned%60", "-x"] {
        let error = bed.git.fetch(&at(path), &main()).await.unwrap_err();
        let text = told(error);
        assert!(text.contains("does not appear to be a git repository"), "{path}: {text}");
        assert!(text.contains("exit status 128"), "{path}: {text}");
    }
    assert!(!bed.server.root().join("pwned").exists());

    let name = "team/Größe & 'co'";
    bed.server.create_repo(name, &[("a.yaml", "a: 1\n")]).await.unwrap();
    assert!(bed.git.fetch(&at(name), &main()).await.is_ok());
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_server_that_runs_no_commands_is_told() {
    let config = vec!["ForceCommand echo 'This account is currently not available.' >&2; exit 1".to_owned()];
    let bed = Bed::with(&Settings { config, ..Settings::default() }, Limits::default()).await;
    let error = told(bed.fetch().await.unwrap_err());
    assert!(error.contains("exit status 1: This account is currently not available."), "{error}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn one_channel_at_a_time_is_enough() {
    let config = vec!["MaxSessions 1".to_owned()];
    let bed = Bed::with(&Settings { config, ..Settings::default() }, Limits::default()).await;
    for round in 0..10 {
        let base = bed.fetch().await.unwrap();
        let head = format!("b{round}");
        bed.push(&base, "2.0.0", &head).await.unwrap();
        assert!(bed.git.head_commit(&bed.remote, &branch(&head)).await.unwrap().is_some());
    }
    assert_eq!(bed.ssh.connections().unwrap(), 1, "{}", bed.ssh.log().unwrap());
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn algorithms_of_strict_servers_are_spoken() {
    for line in [
        "KexAlgorithms ecdh-sha2-nistp256",
        "KexAlgorithms diffie-hellman-group14-sha256",
        "Ciphers aes128-gcm@openssh.com",
        "Ciphers aes256-ctr\nMACs hmac-sha2-256",
    ] {
        let bed =
            Bed::with(&Settings { config: vec![line.to_owned()], ..Settings::default() }, Limits::default()).await;
        assert!(bed.fetch().await.is_ok(), "{line}");
    }
    let config = vec!["KexAlgorithms diffie-hellman-group14-sha1".to_owned()];
    let bed = Bed::with(&Settings { config, ..Settings::default() }, Limits::default()).await;
    let error = told(bed.fetch().await.unwrap_err());
    assert!(error.contains("No common Kex algorithm"), "{error}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_session_keys_may_change_on_the_way() {
    let key = Key::generate(&["-t", "rsa", "-b", "2048"]).await.unwrap();
    let config = vec!["RekeyLimit 1M".to_owned(), "PubkeyAcceptedAlgorithms rsa-sha2-256".to_owned()];
    let settings = Settings { config, host_keys: vec![key], ..Settings::default() };
    let mut bed = Bed::with(&settings, Limits::default()).await;
    let client = Key::generate(&["-t", "rsa", "-b", "2048"]).await.unwrap();
    bed.ssh.authorize(&client).unwrap();
    bed.remote.ssh = Some(crate::bed::identity(&client, &bed.ssh.known_hosts()));
    let big = crate::bed::noise(8 << 20);
    bed.repo.commit("main", &[("big.bin", big.as_str())], "Grow").await.unwrap();
    let base = bed.fetch().await.unwrap();
    let pushed = bed.push_to(&bed.remote, &base, &format!("# {big}\n"), "b", None).await.unwrap();
    assert_eq!(pushed, Pushed::Done(bed.tip("b").await));
    bed.repo.fsck().await.unwrap();
}
