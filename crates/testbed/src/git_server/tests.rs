//! The real git as a client, over TLS.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::*;
use crate::faults::{Answer, Fault, Hold, Location, When};

const REPO: &str = "team/fleet";

struct Bed {
    folder: TempDir,
    ca: Ca,
    server: GitServer,
    repo: RepoHandle,
}

/// How a git command ended, and what it wrote to standard error.
type Ended = (bool, String);

impl Bed {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::generate(&folder.path().join("ca")).unwrap();
        let server = GitServer::start(&ca).await.unwrap();
        let repo =
            server.create_repo(REPO, &[("dev/app.yaml", "version: 1\n"), ("README.md", "# fleet\n")]).await.unwrap();
        Self { folder, ca, server, repo }
    }

    fn spawn(&self, folder: &Path, args: &[&str]) -> Child {
        self.spawn_with(folder, &format!("any-user:{TOKEN}"), args)
    }

    fn spawn_with(&self, folder: &Path, credentials: &str, args: &[&str]) -> Child {
        let helper = credentials.split_once(':').map_or(String::new(), |(username, password)| {
            format!("!printf 'username={username}\\npassword={password}\\n'; :")
        });
        let mut command = Command::new("git");
        repo::isolate(&mut command);
        command
            .current_dir(folder)
            .env("GIT_SSL_CAINFO", self.ca.certificate_path())
            .args(["-c", "http.proxy="])
            .args(["-c", &format!("credential.helper={helper}")])
            .args(["-c", "user.name=Client", "-c", "user.email=client@example.com"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn run(&self, folder: &Path, args: &[&str]) -> Ended {
        ended(self.spawn(folder, args)).await
    }

    async fn fetch(&self) -> Ended {
        let bare = self.folder.path().join("bare.git");
        if !bare.exists() {
            self.run(self.folder.path(), &["init", "-q", "--bare", "bare.git"]).await;
        }
        self.run(&bare, &["fetch", "-q", self.server.url(REPO).as_str(), "+main:main"]).await
    }

    async fn clone(&self) -> PathBuf {
        let (ok, said) = self.run(self.folder.path(), &["clone", "-q", self.server.url(REPO).as_str(), "clone"]).await;
        assert!(ok, "{said}");
        self.folder.path().join("clone")
    }

    /// Commits a change of one file in the clone.
    async fn change(&self, clone: &Path, content: &[u8]) {
        std::fs::write(clone.join("dev/app.yaml"), content).unwrap();
        let (ok, said) = self.run(clone, &["commit", "-qam", "Change"]).await;
        assert!(ok, "{said}");
    }

    fn push(&self, clone: &Path) -> Child {
        self.spawn(clone, &["push", "-q", "origin", "HEAD:promotion/a/b"])
    }

    fn inject(&self, step: Step, fault: Fault) {
        self.server.inject(Rule::once(fault).on(step).repo(REPO));
    }

    async fn pushed(&self) -> bool {
        self.repo.branches().await.unwrap().contains_key("promotion/a/b")
    }
}

async fn ended(child: Child) -> Ended {
    let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await.unwrap().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn git_clones_pushes_and_deletes_over_tls() {
    let bed = Bed::start().await;
    let base = bed.repo.rev_parse("main").await.unwrap();
    let clone = bed.clone().await;
    assert_eq!(std::fs::read_to_string(clone.join("dev/app.yaml")).unwrap(), "version: 1\n");

    bed.change(&clone, b"version: 2\n").await;
    let (ok, said) = ended(bed.push(&clone)).await;
    assert!(ok, "{said}");
    assert_eq!(bed.repo.show("promotion/a/b:dev/app.yaml").await.unwrap(), b"version: 2\n");
    let diff = bed.repo.diff("main", "promotion/a/b").await.unwrap();
    assert!(diff.contains("-version: 1\n+version: 2\n"), "{diff}");
    let commits = bed.repo.log("main..promotion/a/b").await.unwrap();
    assert_eq!(commits.len(), 1);
    assert_eq!((commits[0].parents.as_slice(), commits[0].message.as_str()), ([base].as_slice(), "Change\n"));
    assert_eq!(commits[0].author, "Client <client@example.com>");
    bed.repo.fsck().await.unwrap();

    let (ok, said) = bed.run(&clone, &["push", "-q", "origin", ":promotion/a/b"]).await;
    assert!(ok, "{said}");
    assert_eq!(bed.repo.branches().await.unwrap().into_keys().collect::<Vec<_>>(), ["main"]);

    let requests = bed.server.requests();
    let push = requests.iter().find(|request| request.step == Some(Step::Push) && request.authorized).unwrap();
    assert_eq!((push.status, push.complete), (Some(StatusCode::OK), true));
    assert!(push.received > 100 && push.sent > 10, "{push:?}");
    assert!(requests.iter().any(|request| !request.authorized && request.status == Some(StatusCode::UNAUTHORIZED)));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn only_known_credentials_and_repositories_pass() {
    let bed = Bed::start().await;
    let folder = bed.folder.path();
    let ls = async |credentials: &str, repo: &str| {
        let url = bed.server.url(repo);
        ended(bed.spawn_with(folder, credentials, &["ls-remote", url.as_str()])).await
    };
    assert!(ls(&format!("{USERNAME}:{PASSWORD}"), REPO).await.0);
    assert!(ls(&format!("x-access-token:{TOKEN}"), REPO).await.0);
    let (ok, said) = ls("somebody:wrong", REPO).await;
    assert!(!ok && said.contains("Authentication failed"), "{said}");
    let (ok, said) = ls(&format!("any:{TOKEN}"), "team/absent").await;
    assert!(!ok && said.contains("not found"), "{said}");
    bed.server.set_token("rotated");
    assert!(!ls(&format!("any:{TOKEN}"), REPO).await.0);
    assert!(ls("any:rotated", REPO).await.0);
    assert!(bed.server.repo("../escape").is_err());
    bed.server.create_repo(REPO, &[("a", "b")]).await.unwrap_err();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn repositories_hold_whatever_a_test_needs() {
    let bed = Bed::start().await;
    let tip = bed.repo.rev_parse("main").await.unwrap();
    let changes = [
        Change::Write("odd \"name\"\\.yaml", b"\0\xff"),
        Change::Symlink("link.yaml", "dev/app.yaml"),
        Change::Submodule("vendored", &tip),
        Change::Delete("README.md"),
    ];
    let commit = bed.repo.commit_changes("main", &changes, "Move on\n\nbody").await.unwrap();
    let listed = bed.repo.git(&["ls-tree", "-z", "-r", "main"]).await.unwrap();
    let modes: Vec<_> = listed.split('\0').filter_map(|line| line.split_once(' ')).map(|(mode, _)| mode).collect();
    assert_eq!(modes, ["100644", "120000", "100644", "160000"]);
    assert_eq!(bed.repo.show("main:odd \"name\"\\.yaml").await.unwrap(), b"\0\xff");
    assert_eq!(bed.repo.log("main").await.unwrap()[0].parents, [tip.as_str()]);
    bed.repo.set_branch("old", &tip).await.unwrap();
    assert!(bed.repo.is_ancestor("old", &commit).await.unwrap());
    assert!(!bed.repo.is_ancestor(&commit, "old").await.unwrap());
    bed.repo.delete_branch("old").await.unwrap();
    bed.repo.delete_branch("old").await.unwrap_err();

    let empty = bed.server.create_repo::<&str>("team/empty", &[]).await.unwrap();
    assert!(empty.branches().await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_fetch_meets_each_fault() {
    let bed = Bed::start().await;
    let wait = Duration::from_secs(7);
    for (step, fault, expect) in [
        (Step::FetchRefs, Fault::status(StatusCode::FORBIDDEN), "403"),
        (Step::FetchRefs, Fault::status(StatusCode::NOT_FOUND), "not found"),
        (Step::FetchRefs, Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, wait), "429"),
        (Step::Fetch, Fault::status(StatusCode::SERVICE_UNAVAILABLE), "503"),
        (Step::Fetch, Fault::Answer(When::After, Answer::text(StatusCode::BAD_GATEWAY)), "502"),
        (Step::FetchRefs, Fault::html(), "not valid: is this a git repository?"),
        (Step::FetchRefs, Fault::Drop(When::Before), "unable to access"),
        (Step::FetchRefs, Fault::CutAnswer(20), ""),
        (Step::Fetch, Fault::CutAnswer(60), ""),
        (Step::Fetch, Fault::CutRequest(30), ""),
    ] {
        let text = format!("{fault:?}");
        // Not once: libcurl tries again when a connection that it has used before is dropped.
        bed.server.inject(Rule::always(fault).on(step).repo(REPO));
        let (ok, said) = bed.fetch().await;
        assert!(!ok && said.contains(expect), "{text}: {said}");
        bed.server.clear_faults();
        let (ok, said) = bed.fetch().await;
        assert!(ok, "after {text}: {said}");
        // A new tip, so that the next fetch has something to ask for.
        bed.repo.commit("main", &[("dev/app.yaml", text.as_str())], "Move on").await.unwrap();
    }
    let limited =
        bed.server.requests().into_iter().find(|request| request.status == Some(StatusCode::TOO_MANY_REQUESTS));
    assert!(limited.unwrap().complete);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn slow_answers_arrive() {
    let bed = Bed::start().await;
    for (step, fault) in [
        (Step::FetchRefs, Fault::Delay(Duration::from_millis(300))),
        (Step::Fetch, Fault::Slow(Duration::from_millis(300))),
    ] {
        bed.inject(step, fault);
        let start = Instant::now();
        let (ok, said) = bed.fetch().await;
        assert!(ok, "{said}");
        assert!(start.elapsed() >= Duration::from_millis(300));
        bed.repo.commit("main", &[("dev/app.yaml", "version: 3\n")], "Move on").await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn protocol_version_2_is_spoken_unless_it_is_taken_away() {
    let bed = Bed::start().await;
    let client = bed.ca.http_client().unwrap();
    let url = format!("{}/info/refs?service=git-upload-pack", bed.server.url(REPO));
    let refs = async || {
        let request = client.get(&url).basic_auth("any", Some(TOKEN)).header("Git-Protocol", "version=2");
        request.send().await.unwrap().text().await.unwrap()
    };
    assert!(refs().await.contains("version 2"));
    bed.server.set_protocol_v0_only(REPO, true);
    assert!(refs().await.contains(" refs/heads/main"));
    let (ok, said) = bed.fetch().await;
    assert!(ok, "{said}");
    bed.server.set_protocol_v0_only(REPO, false);
    assert!(refs().await.contains("version 2"));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn redirects_lead_within_the_origin_and_away() {
    let bed = Bed::start().await;
    let other = GitServer::start(&bed.ca).await.unwrap();
    let moved = bed.server.create_repo("team/moved", &[("a", "b")]).await.unwrap();
    // git follows a redirect of its first request only, so that one has to carry the credentials.
    let header = format!("http.extraHeader=Authorization: Basic {}", STANDARD.encode(format!("any:{TOKEN}")));
    let url = bed.server.url(REPO);
    let ls = async || {
        let child = bed.spawn_with(bed.folder.path(), "", &["-c", &header, "ls-remote", url.as_str()]);
        child.wait_with_output().await.unwrap()
    };
    bed.inject(
        Step::FetchRefs,
        Fault::Redirect(StatusCode::MOVED_PERMANENTLY, Location::Replace(REPO.into(), "team/moved".into())),
    );
    let listed = String::from_utf8(ls().await.stdout).unwrap();
    assert!(listed.contains(&moved.rev_parse("main").await.unwrap()), "{listed}");

    bed.inject(Step::FetchRefs, Fault::Redirect(StatusCode::FOUND, Location::Origin(other.origin().clone())));
    assert!(!ls().await.status.success());
    assert_eq!(other.requests()[0].path, "/team/fleet.git/info/refs");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_refused_push_says_why() {
    let bed = Bed::start().await;
    let clone = bed.clone().await;
    bed.change(&clone, b"version: 2\n").await;
    for (hook, expect) in [(Hook::PreReceive, "pre-receive hook declined"), (Hook::Update, "hook declined")] {
        bed.repo.refuse_pushes(hook, "frozen until Monday: it's `$HOME`").unwrap();
        let (ok, said) = ended(bed.push(&clone)).await;
        assert!(!ok && said.contains("frozen until Monday: it's `$HOME`") && said.contains(expect), "{said}");
        bed.repo.accept_pushes();
    }
    assert!(!bed.pushed().await);
    assert!(ended(bed.push(&clone)).await.0);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_push_that_breaks_off_early_has_no_effect() {
    let bed = Bed::start().await;
    let clone = bed.clone().await;
    // Large and incompressible, so that git sends it in chunks.
    let mut state = 1_u64;
    let mut noise = vec![0; 4_000_000];
    for byte in &mut noise {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_be_bytes()[0];
    }
    bed.change(&clone, &noise).await;
    for fault in [Fault::CutRequest(100_000), Fault::Drop(When::Before), Fault::status(StatusCode::UNAUTHORIZED)] {
        let text = format!("{fault:?}");
        // For each try: libcurl makes another one by itself when a connection that it used before breaks.
        bed.server.inject(Rule::always(fault).on(Step::Push));
        let (ok, said) = ended(bed.push(&clone)).await;
        bed.server.clear_faults();
        assert!(!ok, "{text}: {said}");
        assert!(!bed.pushed().await, "{text}");
    }
    let (ok, said) = ended(bed.push(&clone)).await;
    assert!(ok, "{said}");
    assert_eq!(bed.repo.show("promotion/a/b:dev/app.yaml").await.unwrap(), noise);
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_push_whose_answer_is_lost_has_taken_effect() {
    for fault in [
        Fault::Drop(When::After),
        Fault::Answer(When::After, Answer::text(StatusCode::GATEWAY_TIMEOUT)),
        Fault::CutAnswer(5),
    ] {
        let bed = Bed::start().await;
        let clone = bed.clone().await;
        bed.change(&clone, b"version: 2\n").await;
        let text = format!("{fault:?}");
        bed.inject(Step::Push, fault);
        let (ok, said) = ended(bed.push(&clone)).await;
        assert!(!ok, "{text}: {said}");
        assert!(bed.pushed().await, "{text}");
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_client_can_be_killed_while_its_push_is_held() {
    for (when, effect) in [(When::Before, false), (When::After, true)] {
        let bed = Bed::start().await;
        let clone = bed.clone().await;
        bed.change(&clone, b"version: 2\n").await;
        let hold = Hold::new();
        bed.inject(Step::Push, Fault::Hold(when, hold.clone()));
        let mut push = bed.push(&clone);
        hold.reached().await.unwrap();
        assert_eq!(bed.pushed().await, effect);
        push.kill().await.unwrap();
        hold.break_off();
        assert_eq!(bed.pushed().await, effect);
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_held_push_goes_on_when_it_is_released() {
    for when in [When::Before, When::After] {
        let bed = Bed::start().await;
        let clone = bed.clone().await;
        bed.change(&clone, b"version: 2\n").await;
        let hold = Hold::new();
        bed.inject(Step::Push, Fault::Hold(when, hold.clone()));
        let push = bed.push(&clone);
        hold.reached().await.unwrap();
        hold.release();
        let (ok, said) = ended(push).await;
        assert!(ok, "{said}");
        assert!(bed.pushed().await);
    }
}
