//! The life of a pull request on each imitated host, by the trait's own verbs.

use testbed::forge::{Kind, MILESTONE, PERSON};
use testbed::git_server::{self, GitServer};
use testbed::{Ca, Forge};

use super::*;
use crate::error::Error;
use crate::host::{Created, Merge, Merged, open};

const REPO: &str = "fleet/config";

/// An id as Azure DevOps has them.
const UUID: &str = "3b5f0a4c-2f0e-4d4e-9d59-1d3d1c4ec0aa";

struct Place {
    forge: Forge,
    host: Box<dyn Host>,
    _git: GitServer,
    _folder: tempfile::TempDir,
}

async fn place(kind: Kind, provider: Provider) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::generate(folder.path()).unwrap();
    let git = GitServer::start(&ca).await.unwrap();
    let forge = Forge::start(kind, &ca, &git).await.unwrap();
    let repo = git.create_repo(REPO, &[("README.md", "one\n")]).await.unwrap();
    for name in ["promotion/a", "promotion/ab"] {
        repo.set_branch(name, "main").await.unwrap();
        repo.commit(name, &[(name, "two\n")], "Promote").await.unwrap();
    }
    let identity = Identity { ca: Some(ca.pem().as_bytes().to_vec()), ..Identity::default() };
    let (url, api) = (forge.url_on(git.origin(), REPO).as_str().parse().unwrap(), forge.api_url());
    let host = open(provider, &url, Some(&api), &token(git_server::TOKEN), line(&identity)).unwrap();
    Place { forge, host, _git: git, _folder: folder }
}

fn opened(head: &str, draft: bool) -> NewPullRequest {
    NewPullRequest { head: branch(head), base: branch("main"), ..new(draft) }
}

/// What a host can be asked for.
fn attributes(kind: Kind) -> Attributes {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    match kind {
        Kind::GitLab => Attributes {
            labels: names(&["promotion", "prod"]),
            reviewers: names(&[PERSON]),
            assignees: names(&[PERSON]),
            milestone: Some(MILESTONE.to_owned()),
            ..Attributes::default()
        },
        Kind::AzureDevOps => Attributes {
            labels: names(&["promotion", "prod"]),
            reviewers: names(&[UUID]),
            team_reviewers: names(&[UUID]),
            ..Attributes::default()
        },
        Kind::BitbucketServer | Kind::BitbucketCloud => {
            Attributes { reviewers: names(&[PERSON]), ..Attributes::default() }
        }
    }
}

macro_rules! on_each {
    ($($name:ident: $kind:ident),+ $(,)?) => {
        $(
            mod $name {
                use super::*;

                #[tokio::test]
                #[ignore = "needs the test bed: run `cargo xtask test`"]
                async fn a_pull_request_lives_and_is_closed() {
                    super::lives_and_is_closed(Kind::$kind, Provider::$kind).await;
                }

                #[tokio::test]
                #[ignore = "needs the test bed: run `cargo xtask test`"]
                async fn what_people_added_stays() {
                    super::what_people_added_stays(Kind::$kind, Provider::$kind).await;
                }

                #[tokio::test]
                #[ignore = "needs the test bed: run `cargo xtask test`"]
                async fn it_is_merged_by_policy() {
                    super::it_is_merged_by_policy(Kind::$kind, Provider::$kind).await;
                }
            }
        )+
    };
}

on_each![gitlab: GitLab, bitbucket_server: BitbucketServer, bitbucket_cloud: BitbucketCloud, azure_devops: AzureDevOps];

async fn lives_and_is_closed(kind: Kind, provider: Provider) {
    let Place { forge, host, .. } = &place(kind, provider).await;
    let (head, base) = (branch("promotion/a"), branch("main"));
    assert_eq!(host.find(&head, &base).await.unwrap(), None);
    let absent = host.create(&opened("promotion/none", false)).await.unwrap();
    assert!(matches!(absent, Created::HeadUnknown), "{absent:?}");

    let Created::Done(made) = host.create(&opened("promotion/a", true)).await.unwrap() else { panic!("not opened") };
    assert!(made.attributes.draft);
    assert_eq!(host.find(&head, &base).await.unwrap().as_ref(), Some(&made));
    assert_eq!(host.list_open("promotion/").await.unwrap().len(), 1);
    assert_eq!(host.list_open("promotion/ab").await.unwrap(), []);
    let again = host.create(&opened("promotion/a", true)).await.unwrap();
    assert!(
        matches!(&again, Created::Exists) || matches!(&again, Created::Done(again) if again.number == made.number),
        "{again:?}"
    );

    host.update(&made, "new title", "new body").await.unwrap();
    let pull = forge.pull(REPO, made.number).await.unwrap();
    assert_eq!((pull.title.as_str(), pull.body.as_deref(), pull.draft), ("new title", Some("new body"), true));

    for _ in 0..2 {
        host.comment(made.number, "a word").await.unwrap();
        host.close(made.number).await.unwrap();
    }
    assert_eq!(forge.comments(REPO, made.number).await.unwrap().len(), 1);
    assert_eq!(host.find(&head, &base).await.unwrap().unwrap().state, PullRequestState::Closed);
    assert!(host.delete_branch(&head).await.unwrap());
    assert!(!host.delete_branch(&head).await.unwrap());
    assert_eq!(host.find(&head, &base).await.unwrap().unwrap().number, made.number);
}

async fn what_people_added_stays(kind: Kind, provider: Provider) {
    let Place { forge, host, .. } = &place(kind, provider).await;
    let asked = attributes(kind);
    let Created::Done(made) = host.create(&opened("promotion/a", false)).await.unwrap() else { panic!("not opened") };
    host.dress(&made, &Attributes { labels: asked.labels.iter().take(1).cloned().collect(), ..asked.clone() })
        .await
        .unwrap();
    let seen = host.find(&branch("promotion/a"), &branch("main")).await.unwrap().unwrap();
    host.dress(&seen, &asked).await.unwrap();
    let pull = forge.pull(REPO, made.number).await.unwrap();
    assert_eq!(pull.labels.len(), asked.labels.len(), "{:?}", pull.labels);
    assert_eq!(pull.reviewers.iter().collect::<Vec<_>>(), asked.reviewers.iter().collect::<Vec<_>>());
    assert_eq!(pull.assignees.iter().collect::<Vec<_>>(), asked.assignees.iter().collect::<Vec<_>>());
    assert_eq!((pull.milestone, pull.title.as_str()), (asked.milestone.clone(), "t"));

    let seen = host.find(&branch("promotion/a"), &branch("main")).await.unwrap().unwrap();
    let before = forge.requests().len();
    host.dress(&seen, &asked).await.unwrap();
    assert_eq!(forge.requests().len(), before, "nothing is left to ask for");

    let team = Attributes { team_reviewers: vec!["everybody".to_owned()], ..Attributes::default() };
    let error = host.dress(&seen, &team).await.unwrap_err();
    match kind {
        Kind::AzureDevOps => {
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(cause, "reviewer `everybody` is no id: Azure DevOps knows people and groups by UUIDs");
        }
        _ => assert!(matches!(error, Error::NotSupported { what: "team reviewers", .. }), "{error:?}"),
    }
    if kind == Kind::GitLab {
        let nobody = Attributes { reviewers: vec!["nobody".to_owned()], ..Attributes::default() };
        let error = host.dress(&seen, &nobody).await.unwrap_err().to_string();
        assert!(error.contains("reviewer") && error.contains("`nobody`"), "{error}");
    }
}

async fn it_is_merged_by_policy(kind: Kind, provider: Provider) {
    let Place { forge, host, .. } = &place(kind, provider).await;
    forge.block(REPO, true).await.unwrap();
    let Created::Done(made) = host.create(&opened("promotion/a", false)).await.unwrap() else { panic!("not opened") };
    let waits = host.merge(&made, Merge::Immediate).await.unwrap();
    assert!(matches!(&waits, Merged::NotYet(reason) if reason.contains("approv")), "{waits:?}");
    let moved = PullRequest { head_commit: Some(MERGED.parse().unwrap()), ..made.clone() };
    assert!(matches!(host.merge(&moved, Merge::Immediate).await.unwrap(), Merged::NotYet(_)));

    let auto = host.merge(&made, Merge::Auto).await;
    if provider.capabilities().auto_merge {
        assert_eq!(auto.unwrap(), Merged::Scheduled);
        assert_eq!(host.merge(&made, Merge::Auto).await.unwrap(), Merged::Scheduled);
        forge.block(REPO, false).await.unwrap();
        assert_eq!(host.merge(&made, Merge::Auto).await.unwrap(), Merged::Done);
    } else {
        assert!(matches!(auto, Err(Error::NotSupported { .. })), "{auto:?}");
        forge.block(REPO, false).await.unwrap();
        assert_eq!(host.merge(&made, Merge::Immediate).await.unwrap(), Merged::Done);
    }
    assert_eq!(host.merge(&made, Merge::Immediate).await.unwrap(), Merged::Done);
    let found = host.find(&branch("promotion/a"), &branch("main")).await.unwrap().unwrap();
    assert_eq!(found.state, PullRequestState::Merged);
    let commit = forge.pull(REPO, made.number).await.unwrap().merge_commit;
    assert_eq!(found.merged_commit.map(|id| id.to_string()), commit);

    // Where no rule stands in the way, the host merges at once.
    let Created::Done(free) = host.create(&opened("promotion/ab", false)).await.unwrap() else { panic!("not opened") };
    let how = if kind == Kind::BitbucketCloud { Merge::Immediate } else { Merge::Auto };
    assert_eq!(host.merge(&free, how).await.unwrap(), Merged::Done);
}
