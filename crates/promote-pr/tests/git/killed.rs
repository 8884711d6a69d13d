//! Caches of processes that were killed, and caches whose files were damaged.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use promote_pr::git::{Error, Limits};

use crate::bed::{Attached, Bed, NEEDLE};

/// Names the file that tells a process of [`fetches_until_it_is_killed`] what to fetch.
const CONFIG: &str = "PROMOTE_PR_TEST_FETCH";

/// Numbers that are spread like random ones, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(u64::try_from(end).unwrap())).unwrap()
    }
}

#[tokio::test]
#[ignore = "is a process of `a_killed_process_leaves_a_cache_that_can_be_used`, and does nothing of its own"]
async fn fetches_until_it_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "the test that starts this process tells it so what to do")]
    let Ok(config) = std::env::var(CONFIG) else { return };
    let bed = Attached::read(config.as_ref());
    loop {
        bed.fetch().await.unwrap().files_containing(NEEDLE).await.unwrap();
        println!("fetched");
        std::io::stdout().flush().unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_killed_process_leaves_a_cache_that_can_be_used() {
    let mut bed = Bed::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    bed.write_config(&config);
    let noise = |seed: u32| -> String {
        (0..50_000_u32).map(|i| format!("{:x}", (i + seed).wrapping_mul(2_654_435_761))).collect()
    };
    let mut random = Random(11);
    for round in 0..25 {
        bed.repo.commit("main", &[("noise.yaml", noise(round))], "Go on").await.unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "killed::fetches_until_it_is_killed", "--nocapture"])
            .env(CONFIG, &config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(20 + random.below(400))).await;
        process.kill().unwrap();
        process.wait().unwrap();

        bed.restart(Limits::default());
        let found = bed.fetch().await.unwrap().files_containing(NEEDLE).await;
        assert_eq!(found.unwrap().files.len(), 2, "round {round}");
        assert_eq!(bed.stores().len(), 1, "round {round}");
        bed.restart(Limits::default());
    }
}

/// Every file of the cache.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(path) } else { vec![path] }).collect()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn any_file_of_the_cache_can_be_damaged() {
    let mut bed = Bed::start().await;
    let mut random = Random(5);
    for round in 0..40 {
        bed.fetch().await.unwrap();
        bed.repo.commit("main", &[("x.yaml", format!("{round}"))], "Go on").await.unwrap();
        bed.fetch().await.unwrap();
        bed.restart(Limits::default());
        let mut all: Vec<_> = bed.stores().into_iter().flat_map(files).collect();
        all.sort();
        let file = all.swap_remove(random.index(all.len()));
        let mut bytes = fs::read(&file).unwrap();
        let length = bytes.len();
        let what = random.below(4);
        match what {
            0 => drop(fs::remove_file(&file)),
            1 => bytes.truncate(random.index(length + 1)),
            2 if length > 0 => bytes[random.index(length)] ^= 1 << random.below(8),
            _ => bytes.extend(b"\0\xffnonsense"),
        }
        if what > 0 {
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            fs::write(&file, bytes).unwrap();
        }
        let found = async |bed: &Bed| bed.fetch().await?.files_containing(NEEDLE).await;
        let found = match found(&bed).await {
            Err(Error::Objects { .. }) => found(&bed).await,
            found => found,
        };
        let text = format!("round {round}, {what}: {}", file.display());
        let found = found.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!((found.files.len(), found.skipped.len()), (2, 0), "{text}");
    }
}
