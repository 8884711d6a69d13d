use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use futures::future::try_join_all;
use promote_pr::git::{CacheLimits, Error, Limits, Remote};
use testbed::git_server::Step;

use crate::bed::{Bed, NEEDLE, PROD};

/// Turns bytes in the middle of a pack over, as a bad disk does. Its length stays.
pub(crate) fn damage(pack: &Path, from: u64) {
    fs::set_permissions(pack, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let file = fs::File::options().read(true).write(true).open(pack).unwrap();
    let mut bytes = vec![0; 24];
    file.read_exact_at(&mut bytes, from).unwrap();
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    file.write_all_at(&bytes, from).unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn damaged_packs_are_fetched_again() {
    let mut bed = Bed::start().await;
    bed.fetch().await.unwrap();
    let length = fs::metadata(&bed.packs()[0]).unwrap().len();
    let mut offset = 0;
    while offset + 24 < length {
        bed.restart(Limits::default());
        damage(&bed.packs()[0], offset);
        let found = async |bed: &Bed| bed.fetch().await?.files_containing(NEEDLE).await;
        let found = match found(&bed).await {
            Err(error @ Error::Objects { .. }) => {
                assert_eq!(error.retry(), egress::Retry::Later);
                found(&bed).await
            }
            found => found,
        };
        let found = found.unwrap_or_else(|error| panic!("damaged at {offset}: {error:?}"));
        assert_eq!(found.files.len(), 2, "damaged at {offset}");
        let base = bed.fetch().await.unwrap();
        base.tree_with(&[(PROD, b"x")]).await.unwrap();
        drop(base);
        for store in bed.stores() {
            fs::remove_dir_all(store).unwrap();
        }
        bed.restart(Limits::default());
        bed.fetch().await.unwrap();
        offset += 60;
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_a_killed_process_left_is_fetched_again() {
    let mut bed = Bed::start().await;
    for file in ["shallow.lock", "objects/pack/.tmpAbCdEf", "objects/pack/pack-1.idx"] {
        bed.fetch().await.unwrap();
        bed.restart(Limits::default());
        let left = bed.stores().remove(0).join(file);
        fs::write(&left, "").unwrap();
        bed.repo.commit("main", &[("x", file)], "Go on").await.unwrap();
        assert_eq!(bed.fetch().await.unwrap().tip(), bed.tip("main").await);
        assert!(!left.exists());
        assert_eq!(bed.packs().len(), 1);
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn packs_that_were_cut_off_are_fetched_again() {
    let mut bed = Bed::start().await;
    bed.fetch().await.unwrap();
    let length = fs::metadata(&bed.packs()[0]).unwrap().len();
    for kept in [0, 1, 40, length / 2, length - 1] {
        bed.restart(Limits::default());
        let pack = bed.packs().remove(0);
        fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::File::options().write(true).open(&pack).unwrap().set_len(kept).unwrap();
        let found = bed.fetch().await.unwrap().files_containing(NEEDLE).await.unwrap();
        assert_eq!(found.files.len(), 2, "{kept} bytes kept");
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn packs_do_not_pile_up() {
    let bed = Bed::start().await;
    let first = bed.fetch().await.unwrap();
    for number in 0..50 {
        bed.repo.commit("main", &[("apps/dev/app.yaml", format!("tag: {number}\n"))], "Go on").await.unwrap();
        assert_eq!(bed.fetch().await.unwrap().tip(), bed.tip("main").await);
    }
    assert_eq!(bed.stores().len(), 2, "the first one is still read");
    assert_eq!(first.files_containing(NEEDLE).await.unwrap().files.len(), 2);
    drop(first);
    assert!(bed.packs().len() < 10);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn fetches_of_one_repository_at_once_share_a_look() {
    let bed = Bed::start().await;
    let tips = try_join_all((0..10).map(|_| bed.fetch())).await.unwrap();
    let tip = bed.tip("main").await;
    assert!(tips.iter().all(|snapshot| snapshot.tip() == tip));
    let requests = bed.requests(Step::Fetch).len();
    assert!(requests <= 3, "{requests}: refs for the first, refs for all others, one pack");
    assert_eq!(bed.packs().len(), 1);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn another_user_does_not_read_from_the_cache() {
    let bed = Bed::start().await;
    bed.fetch().await.unwrap();
    let mut other = bed.remote.clone();
    other.username = Some("somebody-else".to_owned());
    bed.git.fetch(&other, &crate::bed::main()).await.unwrap();
    assert_eq!(bed.stores().len(), 2);
    for store in bed.stores() {
        assert!(!store.display().to_string().contains(testbed::git_server::TOKEN));
    }
}

/// Looks at the repository again until so many are cached. A process that the server starts has the locks of this process until
/// it runs its program, and what is locked stays for that moment.
async fn settle(bed: &Bed, remote: &Remote, stores: usize) {
    for _ in 0..50 {
        if bed.stores().len() == stores {
            return;
        }
        bed.git.fetch(remote, &crate::bed::main()).await.unwrap();
    }
}

/// The bytes of one cached repository, as the limit counts them.
async fn size_of_one() -> u64 {
    let bed = Bed::start().await;
    bed.fetch().await.unwrap();
    bed.cached_bytes()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_was_used_longest_ago_goes_first() {
    let one = size_of_one().await;
    for cache in [
        CacheLimits { bytes: one * 7 / 2, ..CacheLimits::default() },
        CacheLimits { repositories: 3, ..CacheLimits::default() },
    ] {
        let mut bed = Bed::with_limits(Limits { cache: cache.clone(), ..Limits::default() }).await;
        let user = |name: &str| {
            let mut remote = bed.remote.clone();
            remote.username = Some(name.to_owned());
            remote
        };
        let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(user);
        let fetch = async |bed: &Bed, remote| bed.git.fetch(remote, &crate::bed::main()).await.unwrap();
        let packs = |bed: &Bed| bed.requests(Step::Fetch).iter().filter(|request| request.sent > 400).count();
        for remote in [&a, &b, &c, &a] {
            fetch(&bed, remote).await;
        }
        assert_eq!((bed.stores().len(), packs(&bed)), (3, 3));
        fetch(&bed, &d).await;
        settle(&bed, &d, 3).await;
        assert_eq!(bed.stores().len(), 3);
        for remote in [&a, &c, &d] {
            fetch(&bed, remote).await;
        }
        assert_eq!(packs(&bed), 4, "b has gone, the others have not");

        // What somebody reads stays, whoever reads it.
        let read = fetch(&bed, &b).await;
        settle(&bed, &b, 3).await;
        assert_eq!(bed.stores().len(), 3);
        let limits = Limits { cache: CacheLimits { repositories: 1, ..cache }, ..Limits::default() };
        let first = bed.git.clone();
        bed.restart_beside(limits);
        fetch(&bed, &e).await;
        assert_eq!(bed.stores().len(), 4, "those of the other process, and the own one");
        drop(first);
        fetch(&bed, &a).await;
        settle(&bed, &a, 2).await;
        assert_eq!(bed.stores().len(), 2, "the one that is read, and the one that was used last");
        assert_eq!(read.files_containing(NEEDLE).await.unwrap().files.len(), 2);
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_was_fetched_with_a_replaced_token_does_not_stay() {
    let idle = std::time::Duration::from_secs(3600);
    let cache = CacheLimits { idle, ..CacheLimits::default() };
    let mut bed = Bed::with_limits(Limits { cache, ..Limits::default() }).await;
    bed.fetch().await.unwrap();
    let old = bed.stores().remove(0);
    let lock = fs::File::options().write(true).open(old.with_file_name("lock")).unwrap();
    let used = lock.metadata().unwrap().modified().unwrap();
    lock.set_modified(used - 2 * idle).unwrap();

    bed.server.set_token("rotated");
    bed.remote.password = Some("rotated".into());
    bed.fetch().await.unwrap();
    settle(&bed, &bed.remote, 1).await;
    assert!(!old.exists());
    assert_eq!(bed.stores().len(), 1);
}
