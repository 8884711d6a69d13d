//! The repository: 20,000 manifests of about 1 kB in 2,200 folders, 200 of them marked, after 300 commits. It has the
//! same bytes, and so the same ids, each time.

use std::fmt::Write as _;
use std::process::Stdio;

use anyhow::ensure;
use testbed::RepoHandle;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

pub const FILES: usize = 20_000;
/// One in so many files is marked.
const MARKED: usize = 100;
const COMMITS: usize = 300;

/// The file of an application that can be promoted.
pub fn marked(app: usize) -> usize {
    app % (FILES / MARKED) * MARKED
}

/// The marker that stands in the file.
pub fn marker(file: usize) -> String {
    format!("default:app-{file}:prod")
}

/// Path and content of a file.
pub fn file(index: usize, version: &str) -> (String, String) {
    let path = format!("clusters/c{:03}/ns{:04}/app-{index}.yaml", index / 100 % 200, index / 10);
    let marker = if index.is_multiple_of(MARKED) {
        format!(" # {{\"$promotion\": \"{}\"}}", marker(index))
    } else {
        String::new()
    };
    let mut content = format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: app-{index}\n  namespace: ns{}\nspec:\n  interval: 10m\n  chart:\n    spec:\n      chart: podinfo\n      version: '{version}'{marker}\n      sourceRef:\n        kind: HelmRepository\n        name: podinfo\n  values:\n",
        index / 10
    );
    // Texts that differ from file to file, as real ones do.
    let mut state = u64::try_from(index).unwrap_or_default();
    while content.len() < 980 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        writeln!(content, "    key{}: {:x}", state >> 56, state >> 40).ok();
    }
    (path, content)
}

/// Fills an empty repository, and packs it as a server does.
pub async fn fill(repo: &RepoHandle) -> anyhow::Result<()> {
    let mut input = String::new();
    for commit in 0..=COMMITS {
        let time = 1_700_000_000 + commit * 3_600;
        write!(input, "commit refs/heads/main\ncommitter Team <team@example.com> {time} +0000\ndata 7\nGo on.\n\n")?;
        let changed = match commit {
            0 => (0..FILES).collect(),
            _ => vec![commit * 61 % FILES, commit * 127 % FILES],
        };
        for index in changed {
            let (path, content) = file(index, &format!("1.{commit}.0"));
            write!(input, "M 100644 inline {path}\ndata {}\n{content}\n", content.len())?;
        }
    }
    let mut import = Command::new("git")
        .args(["fast-import", "--quiet"])
        .current_dir(&repo.path)
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = import.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    ensure!(import.wait().await?.success(), "git fast-import failed");
    repo.git(&["gc", "--quiet"]).await?;
    let tip = repo.rev_parse("main").await?;
    println!("{FILES} files, {} commits, tip {tip}", COMMITS + 1);
    Ok(())
}
