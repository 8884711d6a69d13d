use std::fs;
use std::ops::Not as _;
use std::path::Path;

use super::home::is_whole;
use super::*;

const PACK: &str = "objects/pack/pack-0123456789012345678901234567890123456789";

/// The path of the store that a process would use now.
fn path(cache: &Path) -> PathBuf {
    let mut entry = Entry { prefix: cache.join("key"), store: None, busy: false, grown: false };
    entry.with_store(|_, store| Ok(store.path.clone())).unwrap()
}

/// A file that ends as a pack does with this checksum, or the index of such a pack, without any object.
fn ending(file: &str, checksum: u8) -> Vec<u8> {
    if !file.ends_with(".idx") {
        return vec![checksum; 20];
    }
    let index = [&b"\xfftOc\0\0\0\x02"[..], &[0; 1024], &[checksum; 20]].concat();
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&index);
    [&index, hasher.try_finalize().unwrap().as_slice()].concat()
}

/// Puts `files` into the store that an earlier process left, and says whether it is used again.
#[track_caller]
fn check(files: &[&str], reused: bool) {
    let cache = tempfile::tempdir().unwrap();
    let left = path(cache.path());
    fs::write(left.join("mark"), "").unwrap();
    for file in files {
        fs::write(left.join(file), ending(file, 1)).unwrap();
    }
    let now = path(cache.path());
    assert_eq!(now.join("mark").exists(), reused, "{files:?}");
    assert!(reused || now.join("HEAD").exists(), "{files:?}");
}

#[test]
fn what_a_killed_process_left_is_not_used() {
    check(&[], true);
    check(&[&format!("{PACK}.pack"), &format!("{PACK}.idx")], true);
    check(&[&format!("{PACK}.pack")], false);
    check(&[&format!("{PACK}.idx")], false);
    check(&[&format!("{PACK}.pack"), &format!("{PACK}.idx"), &format!("{PACK}.keep")], false);
    check(&["objects/pack/.tmpAbCdEf"], false);
    check(&["shallow.lock"], false);
    check(&["../1.git"], false);
    check(&["../stray"], false);
}

#[test]
fn a_pack_that_was_cut_off_is_not_used() {
    let cache = tempfile::tempdir().unwrap();
    for (pack, expect) in [(ending(".pack", 1), true), (ending(".pack", 2), false), (Vec::new(), false)] {
        let left = path(cache.path());
        fs::write(left.join(format!("{PACK}.pack")), pack).unwrap();
        fs::write(left.join(format!("{PACK}.idx")), ending(".idx", 1)).unwrap();
        assert_eq!(is_whole(&left), expect);
    }
    let left = path(cache.path());
    let mut index = ending(".idx", 1);
    index[100] ^= 1;
    fs::write(left.join(format!("{PACK}.pack")), ending(".pack", 1)).unwrap();
    fs::write(left.join(format!("{PACK}.idx")), index).unwrap();
    assert!(!is_whole(&left), "an index with a turned bit");
}

#[test]
fn a_store_that_does_not_open_is_not_used() {
    let cache = tempfile::tempdir().unwrap();
    fs::write(path(cache.path()).join("config"), "[core").unwrap();
    assert!(path(cache.path()).join("HEAD").exists());
    fs::write(path(cache.path()).join("shallow"), "no object id").unwrap();
    assert!(path(cache.path()).join("shallow").exists().not());
}

#[test]
fn processes_use_slots_of_their_own() {
    let cache = tempfile::tempdir().unwrap();
    let entry = || Entry { prefix: cache.path().join("key"), store: None, busy: false, grown: false };
    let (mut one, mut two) = (entry(), entry());
    let path_of = |entry: &mut Entry| entry.with_store(|_, store| Ok(store.path.clone())).unwrap();
    assert_eq!(path_of(&mut one), cache.path().join("key-0/0.git"));
    assert_eq!(path_of(&mut two), cache.path().join("key-1/0.git"));
    assert_eq!(path_of(&mut one), cache.path().join("key-0/0.git"));
    drop((one, two));
    assert_eq!(path(cache.path()), cache.path().join("key-0/0.git"));
}

#[test]
fn an_old_store_stays_until_nobody_reads_it() {
    let cache = tempfile::tempdir().unwrap();
    let mut entry = Entry { prefix: cache.path().join("key"), store: None, busy: false, grown: false };
    let old = entry.with_store(|_, store| Ok(store)).unwrap();
    old.set_broken();
    let new = entry.with_store(|_, store| Ok(store)).unwrap();
    assert_ne!(old.path, new.path);
    let path = old.path.clone();
    assert!(path.exists());
    drop(old);
    assert!(!path.exists());
}

#[test]
fn a_panic_has_the_store_made_new() {
    let cache = tempfile::tempdir().unwrap();
    let mut entry = Entry { prefix: cache.path().join("key"), store: None, busy: false, grown: false };
    let old = entry.with_store(|_, store| Ok(store.path.clone())).unwrap();
    let panic = std::panic::AssertUnwindSafe(|| entry.with_store::<()>(|_, _| panic!("as the test wants")));
    std::panic::catch_unwind(panic).unwrap_err();
    assert_ne!(entry.with_store(|_, store| Ok(store.path.clone())).unwrap(), old);
}

#[cfg(unix)]
#[test]
fn only_the_own_user_reads_the_cache() {
    use std::os::unix::fs::PermissionsExt as _;
    let cache = tempfile::tempdir().unwrap();
    path(cache.path());
    let mode = fs::metadata(cache.path().join("key-0")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn an_unusable_directory_is_named() {
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join("key-0"), "").unwrap();
    let mut entry = Entry { prefix: cache.path().join("key"), store: None, busy: false, grown: false };
    let error = entry.with_store(|_, store| Ok(store.path.clone())).unwrap_err();
    assert!(error.to_string().contains("key-0"), "{error}");
}
