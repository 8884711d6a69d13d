//! `pipelinectl edit` on standard input, files and folders.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::Value;

use crate::run::{Ran, pipelinectl, run, run_in, run_with};

const MARKER: &str = "default:podinfo:prod";
const OLD: &str = "version: 6.2.0 # {\"$promotion\": \"default:podinfo:prod\"}\n";
const NEW: &str = "version: 6.3.0 # {\"$promotion\": \"default:podinfo:prod\"}\n";

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

async fn marker(folder: &Path, more: &[&str]) -> Ran {
    run_in(folder, &[&["edit", "--marker", MARKER, "--value", "6.3.0"], more].concat()).await
}

#[tokio::test]
async fn standard_input() {
    let check = async |args: &[&str], input: &str, code: i32, output: &str, said: &str| {
        let ran = run_with(&[&["edit", "--value", "6.3.0"], args].concat(), input.as_bytes()).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (code, output), "{args:?} {input:?} {ran:?}");
        assert!(ran.stderr.starts_with(said) && ran.stderr.is_empty() == said.is_empty(), "{said} {ran:?}");
    };
    let marker = ["--marker", MARKER];
    check(&marker, OLD, 0, NEW, "").await;
    check(&marker, NEW, 0, NEW, "").await;
    check(&["--marker", MARKER, "-"], OLD, 0, NEW, "").await;
    check(&marker, "version: 6.2.0\r\n", 3, "version: 6.2.0\r\n", "no-match: ").await;
    check(&marker, "", 3, "", "no-match: ").await;
    let orphan = "a: {b: 1} # {\"$promotion\": \"default:podinfo:prod\"}\n";
    check(&marker, orphan, 3, orphan, "orphan-marker: <stdin>:1:11: ").await;
    check(&marker, &format!("a: [\n{OLD}"), 1, "", "parse: <stdin>:").await;
    let tagged = "v: !!int 6 # {\"$promotion\": \"default:podinfo:prod\"}\n";
    check(&marker, tagged, 1, tagged, "tagged: <stdin>:1:12: ").await;
    check(&marker, &format!("{OLD}{tagged}"), 1, &format!("{NEW}{tagged}"), "tagged: <stdin>:2:12: ").await;
    check(&["--marker", MARKER, "--max-file-bytes", "10"], OLD, 1, "", "too-large: <stdin>:1:1: ").await;
    check(&["--marker", MARKER, "--max-depth", "1"], &format!("a: {{b: [1]}}\n{OLD}"), 1, "", "too-deep: ").await;
    check(
        &["--marker", MARKER, "--max-edits", "1"],
        &format!("{OLD}a: {{b: [1]}}\n"),
        0,
        &format!("{NEW}a: {{b: [1]}}\n"),
        "",
    )
    .await;

    let path = ["--path", "spec.version"];
    check(&path, "spec: {version: 1}\n", 0, "spec: {version: 6.3.0}\n", "").await;
    check(&path, "spec: {other: 1}\n", 3, "", "no-match: <stdin>:1:1: ").await;
    check(&path, "spec: {version: [1]}\n", 1, "", "not-scalar: <stdin>:1:17: ").await;
    check(&path, "spec: {version: 1}\n---\nspec: {version: 2}\n", 1, "", "ambiguous: <stdin>:3:").await;
    check(&["--path", "a..b"], "a: 1\n", 2, "", "bad-path: ").await;
    let two = "kind: A\nv: 1\n---\nkind: B\nv: 1\n";
    check(&["--path", "v", "--kind", "B"], two, 0, "kind: A\nv: 1\n---\nkind: B\nv: 6.3.0\n", "").await;
    check(&["--path", "v", "--document", "0"], two, 0, "kind: A\nv: 6.3.0\n---\nkind: B\nv: 1\n", "").await;
}

#[tokio::test]
async fn every_case_of_the_engine_through_standard_input() {
    let cases = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../promote-pr/tests/data/yaml-cases.json"));
    let cases: Vec<Value> = serde_json::from_str(&cases.unwrap()).unwrap();
    for case in cases {
        let selector = &case["selector"];
        let mut args = vec!["edit".to_owned(), "--value".to_owned(), case["value"].as_str().unwrap().to_owned()];
        if let Some(marker) = selector.as_str() {
            args.extend(["--marker".to_owned(), marker.to_owned()]);
        } else {
            for (key, value) in selector.as_object().unwrap() {
                let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                args.extend([format!("--{}", key.replace("apiVersion", "api-version")), value]);
            }
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = run_with(&args, case["input"].as_str().unwrap().as_bytes()).await;
        let name = &case["name"];
        match case["error"].as_str() {
            Some(error) => {
                assert!(ran.code != 0 && ran.stdout.is_empty(), "{name}: {ran:?}");
                assert!(ran.stderr.starts_with(&format!("{error}: ")), "{name}: {ran:?}");
            }
            None => {
                assert_eq!(ran.stdout, case["expected"].as_str().unwrap(), "{name}: {ran:?}");
                let refused = ran.stderr.starts_with("tagged: ") || ran.stderr.starts_with("multiline-block: ");
                assert_eq!(ran.code == 1, refused, "{name}: {ran:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_folder_gives_a_difference_that_git_applies() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let files = [("apps/b.yaml", OLD), ("apps/a c.yml", OLD), ("apps/other.yaml", "a: 1\n"), (".git/x.yaml", OLD)];
    write(folder, &files);
    symlink("b.yaml", folder.join("apps/link.yaml")).unwrap();

    let ran = marker(folder, &["."]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @r#"
    --- a/apps/a c.yml
    +++ b/apps/a c.yml
    @@ -1 +1 @@
    -version: 6.2.0 # {"$promotion": "default:podinfo:prod"}
    +version: 6.3.0 # {"$promotion": "default:podinfo:prod"}
    --- a/apps/b.yaml
    +++ b/apps/b.yaml
    @@ -1 +1 @@
    -version: 6.2.0 # {"$promotion": "default:podinfo:prod"}
    +version: 6.3.0 # {"$promotion": "default:podinfo:prod"}
    "#);
    assert_eq!(fs::read_to_string(folder.join("apps/b.yaml")).unwrap(), OLD);

    fs::write(folder.join("patch"), &ran.stdout).unwrap();
    let status = tokio::process::Command::new("git").args(["apply", "patch"]).current_dir(folder).status().await;
    assert!(status.unwrap().success());
    fs::remove_file(folder.join("patch")).unwrap();
    for (path, expect) in [("apps/b.yaml", NEW), ("apps/a c.yml", NEW), (".git/x.yaml", OLD)] {
        assert_eq!(fs::read_to_string(folder.join(path)).unwrap(), expect, "{path}");
    }
    let again = marker(folder, &["."]).await;
    assert_eq!((again.code, again.all().as_str()), (0, ""));
}

#[tokio::test]
async fn files_are_written_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, &[("real/app.yaml", OLD), ("b.yaml", &OLD.replace('\n', "\r\n"))]);
    let file = folder.join("real/app.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real/app.yaml", folder.join("link.yaml")).unwrap();

    let ran = marker(folder, &["--write", "link.yaml", "real", "b.yaml"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "link.yaml:1:10: \"6.2.0\" -> \"6.3.0\"\nb.yaml:1:10: \"6.2.0\" -> \"6.3.0\"\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), NEW);
    assert_eq!(fs::read_to_string(folder.join("b.yaml")).unwrap(), NEW.replace('\n', "\r\n"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(folder.join("link.yaml")).unwrap().is_symlink());
    let mut names: Vec<_> = fs::read_dir(folder.join("real")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["app.yaml"], "nothing else is left");
}

#[tokio::test]
async fn one_refusal_keeps_all_files_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let block = "v: | # {\"$promotion\": \"default:podinfo:prod\"}\n  a\n  b\n";
    write(folder, &[("a.yaml", OLD), ("b.yaml", block)]);
    for more in [["."].as_slice(), &["--write", "."]] {
        let ran = marker(folder, more).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.starts_with("multiline-block: b.yaml:1:"), "{ran:?}");
        assert_eq!(fs::read_to_string(folder.join("a.yaml")).unwrap(), OLD);
    }
    let data = marker(folder, &["-o", "json", "."]).await;
    let data: Value = serde_json::from_str(&data.stdout).unwrap();
    assert_eq!(data["files"][0]["changes"][0]["new"], "6.3.0");
    assert_eq!(data["notes"][0]["code"], "multiline-block");
}

#[tokio::test]
async fn files_that_are_not_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let template = "a: {{- if .x }}\nb: 1 # {\"$promotion\": \"default:podinfo:prod\"}\n";
    write(folder, &[("a.yaml", OLD), ("templates/t.yaml", template), ("notes.txt", "spec: {version: 1}\n")]);
    let ran = marker(folder, &["."]).await;
    assert_eq!(ran.code, 0, "one of many is skipped: {ran:?}");
    assert!(ran.stderr.starts_with("parse: templates/t.yaml:1:"), "{ran:?}");
    let ran = marker(folder, &["templates/t.yaml"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "it was named: {ran:?}");

    let ran = run_in(folder, &["edit", "--path", "spec.version", "--value", "2", "."]).await;
    assert_eq!(ran.code, 3, "folders give manifests only: {ran:?}");
    assert!(ran.stderr.ends_with("no-match: \"spec.version\" leads to nothing in .\n"), "{ran:?}");
    let ran = run_in(folder, &["edit", "--path", "spec.version", "--value", "2", "--write", "notes.txt"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn wrong_usage() {
    let check = async |args: &[&str], code: i32, said: &str| {
        let ran = run(args).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.contains(said), "{said:?} was expected of {args:?}, but there is {ran:?}");
    };
    check(&["edit", "--value", "1"], 2, "--marker").await;
    check(&["edit", "--marker", "a:b:c", "--path", "x", "--value", "1"], 2, "cannot be used with").await;
    check(&["edit", "--marker", "a:b:c", "--kind", "x", "--value", "1"], 2, "'--kind <KIND>'").await;
    check(&["edit", "--marker", "a:b:c", "--value", "1", "--write"], 2, "FILE|FOLDER").await;
    check(&["edit", "--marker", "a:b:c", "--value", "1", "/absent.yaml"], 1, "error: /absent.yaml: No such file").await;
    check(&["edit", "--marker", "podinfo", "--value", "1", "/dev/null"], 3, "NAMESPACE:PIPELINE:ENVIRONMENT").await;
    check(&["promote", "-f", "x", "-e", "prod", "-r", "a b"], 2, "printable ASCII").await;
    check(&["plan", "-f", "/absent", "-e", "prod", "-r", "1"], 1, "error: /absent: No such file").await;
    check(&["unknown"], 2, "unknown").await;
}

#[tokio::test]
async fn definition_and_completion() {
    let ran = run(&["crd"]).await;
    let committed =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds/pipelines.weave.works.yaml"));
    assert!(committed.unwrap().ends_with(&ran.stdout));
    let ran = run(&["crd", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["kind"], "CustomResourceDefinition");
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completion", shell]).await.stdout.contains("pipelinectl"));
    }
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let edit = ["edit", "--marker", MARKER, "--value", "1", "/dev/null", "-o", "json"];
    for args in [["crd"].as_slice(), &["completion", "zsh"], &edit] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = pipelinectl(args).stdout(writer).spawn().unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?} {output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("error"), "{output:?}");
    }
}
