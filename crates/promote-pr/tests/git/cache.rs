use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use futures::future::try_join_all;
use promote_pr::git::{Error, Limits};
use testbed::git_server::Step;

use crate::bed::{Bed, NEEDLE, PROD};

/// Turns bytes in the middle of a pack over, as a bad disk does. Its length stays.
fn damage(pack: &Path, from: u64) {
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
async fn fetches_of_one_repository_wait_for_each_other() {
    let bed = Bed::start().await;
    let tips = try_join_all((0..10).map(|_| bed.fetch())).await.unwrap();
    let tip = bed.tip("main").await;
    assert!(tips.iter().all(|snapshot| snapshot.tip() == tip));
    assert_eq!(bed.requests(Step::Fetch).len(), 11, "refs each time, one pack");
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
