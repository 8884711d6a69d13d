//! Repositories that are larger than a promotion needs them to be.

use promote_pr::git::{Error, Limits, SkipReason, Skipped};
use testbed::git_server::Step;

use crate::bed::{Bed, NEEDLE, PROD, branch};

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    });
    next.flatten().take(length).collect()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn one_hundred_megabytes_are_left_out() {
    let mut bed = Bed::start().await;
    let blob = noise(100 << 20);
    let files = [("film.mp4", blob.as_slice()), ("dump.yaml", blob.as_slice())];
    bed.repo.commit("main", &files, "Weigh too much").await.unwrap();
    let base = bed.fetch().await.unwrap();
    assert!(bed.requests(Step::Fetch).last().unwrap().sent < 10_000);
    let found = base.files_containing(NEEDLE).await.unwrap();
    assert_eq!(found.files.len(), 2);
    let reason = SkipReason::TooLong { limit: 4 << 20 };
    assert_eq!(found.skipped, [Skipped { path: "dump.yaml".to_owned(), reason }]);
    let error = base.file("dump.yaml").await.unwrap_err();
    assert!(matches!(error, Error::Limit { name: "file", .. }), "{error:?}");
    bed.push(&base, "2.0.0", &branch("b"), None).await.unwrap();

    // A server that cannot leave it out.
    bed.repo.git(&["config", "uploadpack.allowFilter", "false"]).await.unwrap();
    bed.restart(Limits { object: 50 << 20, ..Limits::default() });
    drop(base);
    std::fs::remove_dir_all(bed.stores().remove(0)).unwrap();
    let error = bed.fetch().await.unwrap_err();
    assert!(matches!(error, Error::Limit { name: "object", limit: 52_428_800, .. }), "{error:?}");
    bed.restart(Limits::default());
    let base = bed.fetch().await.unwrap();
    assert_eq!(base.files_containing(NEEDLE).await.unwrap(), found);
    bed.push(&base, "2.0.0", &branch("c"), None).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_file_that_was_left_out_and_shrinks() {
    let bed = Bed::with_limits(Limits { file: 10_000, ..Limits::default() }).await;
    let mut content = b"# $promotion\n".to_vec();
    content.extend(noise(12_000));
    for (length, hits) in [(12_000, 2), (9_000, 3), (11_000, 2), (9_500, 3)] {
        bed.repo.commit("main", &[("a.yaml", &content[..length])], "Change its length").await.unwrap();
        let found = bed.fetch().await.unwrap().files_containing(NEEDLE).await.unwrap();
        assert_eq!((found.files.len(), found.skipped.len()), (hits, 3 - hits), "{length}");
        bed.repo.git(&["gc", "--quiet"]).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn one_hundred_thousand_files() {
    let bed = Bed::start().await;
    let files: Vec<(String, String)> = (0..100_000)
        .map(|i| {
            let marker = if i % 10_000 == 0 { " # {\"$promotion\": \"default:x:prod\"}" } else { "" };
            (format!("teams/{}/{}/app-{i}.yaml", i / 1_000, i / 50), format!("name: app-{i}\ntag: 1.0.0{marker}\n"))
        })
        .collect();
    let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content)).collect();
    bed.repo.commit("main", &files, "Grow").await.unwrap();
    let base = bed.fetch().await.unwrap();
    let found = base.files_containing(NEEDLE).await.unwrap();
    assert_eq!((found.files.len(), found.skipped.len()), (12, 0));
    assert!(found.files.is_sorted());
    bed.push(&base, "2.0.0", &branch("b"), None).await.unwrap();
    bed.repo.commit("main", &[(PROD, "tag: 2 # $promotion\n")], "Go on").await.unwrap();
    let found = bed.fetch().await.unwrap().files_containing(NEEDLE).await.unwrap();
    assert_eq!(found.files.len(), 12);
    assert!(bed.requests(Step::Fetch).last().unwrap().sent < 20_000);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn more_objects_than_are_wanted() {
    let bed = Bed::with_limits(Limits { objects: 6, ..Limits::default() }).await;
    let error = bed.fetch().await.unwrap_err();
    assert!(error.to_string().contains("the number of objects of a pack exceeds the limit `objects` of 6"), "{error}");
    assert_eq!(error.retry(), egress::Retry::Never);
}
