//! Runs the example of updates in `docs/markers.md`.

use std::fs;

use crate::run::run;

const PAGE: &str = include_str!("../../../../docs/markers.md");

fn side(difference: &str, sign: char) -> String {
    difference.lines().filter_map(|line| line.strip_prefix([' ', sign])).map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn updates_of_the_documentation() {
    let blocks: Vec<_> = PAGE.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect();
    let (_, pipeline) = blocks.iter().find(|(info, _)| *info == "yaml pipeline").unwrap();
    let files: Vec<_> = blocks.iter().filter_map(|(info, text)| Some((info.strip_prefix("diff ")?, *text))).collect();
    assert_eq!(files.len(), 4);

    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("pipeline.yaml");
    let checkout = folder.path().join("fleet");
    fs::write(&manifest, pipeline).unwrap();
    for (path, text) in &files {
        let path = checkout.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, side(text, '-')).unwrap();
    }
    let (manifest, dir) = (manifest.to_str().unwrap(), checkout.to_str().unwrap());

    let lint = run(&["lint", "-f", manifest, dir]).await;
    assert_eq!((lint.code, lint.all().as_str()), (0, ""));
    let plan = run(&["plan", "-f", manifest, "-e", "prod", "-r", "6.3.0+abcdef012345", "--dir", dir]).await;
    assert_eq!((plan.code, plan.stderr.as_str()), (0, ""));
    fs::write(folder.path().join("patch"), &plan.stdout).unwrap();
    let apply = tokio::process::Command::new("git").args(["apply", "../patch"]).current_dir(&checkout).status().await;
    assert!(apply.unwrap().success());
    for (path, text) in files {
        assert_eq!(fs::read_to_string(checkout.join(path)).unwrap(), side(text, '+'), "{path}");
    }
}
