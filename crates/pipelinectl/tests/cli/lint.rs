//! `pipelinectl lint` on checkouts.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::run::{Ran, run_in};
use crate::world::pipeline;

fn write(folder: &Path, path: &str, content: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content.replace("M(", "# {\"$promotion\": \"").replace(')', "\"}")).unwrap();
}

fn checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| write(folder.path(), path, content);
    write("fleet/good.yaml", "a: 1 M(default:podinfo:prod)\nb: 2 M(default:other:prod)\n");
    write("fleet/bad.yaml", "a: 1 M(default:podinfo)\nb: {c: 1} M(default:podinfo:prod)\n");
    write("fleet/env.yaml", "a: 1 M(default:podinfo:qa)\nb: 1 M(default:podinfo:dev)\n");
    write("fleet/text.yaml", "a: |\n  x: 1 M(default:podinfo:prod)\n");
    write("fleet/two.yaml", "M(default:podinfo:prod)\na: 1 M(default:podinfo:prod)\n---\nv: 1\n---\nv: 2\n");
    write("fleet/template.yaml", "{{ if }}\na: 1 M(default:podinfo:prod)\n");
    folder
}

async fn lint(folder: &Path, args: &[&str]) -> Ran {
    run_in(folder, &[&["lint"], args].concat()).await
}

/// The findings without their texts.
fn found(ran: &Ran) -> Vec<String> {
    let code = |line: &str| line.rsplit_once('[').unwrap().1.trim_end_matches(']').to_owned();
    let place = |line: &str| line.splitn(5, ':').take(4).collect::<Vec<_>>().join(":");
    ran.stdout.lines().map(|line| format!("{} {}", place(line), code(line))).collect()
}

const ALONE: [&str; 5] = [
    "fleet/bad.yaml:1:6: warning malformed-marker",
    "fleet/bad.yaml:2:11: warning orphan-marker",
    "fleet/template.yaml:2:1: warning parse",
    "fleet/text.yaml:2:11: warning unreachable-marker",
    "fleet/two.yaml:2:6: warning duplicate-marker",
];

#[tokio::test]
async fn markers_alone() {
    let folder = checkout();
    let ran = lint(folder.path(), &["fleet"]).await;
    assert_eq!((ran.code, found(&ran)), (1, ALONE.map(str::to_owned).to_vec()), "{ran:?}");
    assert!(ran.stdout.contains("the name must be namespace:pipeline:environment"), "{ran:?}");
    let inside = lint(&folder.path().join("fleet"), &[]).await;
    assert!(inside.stdout.starts_with("bad.yaml:1:6: warning: "), "{inside:?}");

    fs::remove_dir_all(folder.path().join("fleet")).unwrap();
    write(folder.path(), "fleet/a.yaml", "a: 1 M(default:podinfo:prod)\n");
    let ran = lint(folder.path(), &["fleet"]).await;
    assert_eq!((ran.code, ran.all().as_str()), (0, ""));
    let ran = lint(folder.path(), &["absent"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("absent: No such file"), "{ran:?}");
}

#[tokio::test]
async fn a_pipeline_and_its_updates() {
    let folder = checkout();
    let updates = json!([
        {"file": "good.yaml", "path": "b"},
        {"file": "none/*.yaml", "path": "b"},
        {"file": "*.yaml", "path": "absent"},
        {"file": "two.yaml", "path": "v"},
        {"file": "good.yaml", "path": "b["},
        {"file": "good.yaml", "path": "b", "value": "{{ nothing }}"},
        {"file": "[", "path": "b"},
    ]);
    let url = "https://github.com/org/fleet.git";
    let promotion = json!({"pullRequest": {"url": url, "secretRef": "fleet", "updates": updates}});
    // One line for each field, so that positions say which it is.
    let manifest = serde_json::to_string_pretty(&pipeline(&promotion)).unwrap();
    let line = |text: &str, nth: usize| {
        manifest.lines().enumerate().filter(|(_, line)| line.contains(text)).nth(nth).unwrap().0 + 1
    };
    let file_of = |text: &str, nth: usize| format!("pipeline.json:{}:21: error", line(text, nth));
    fs::write(folder.path().join("pipeline.json"), &manifest).unwrap();

    let ran = lint(folder.path(), &["-f", "pipeline.json", "fleet"]).await;
    let mut expect = ALONE.map(str::to_owned).to_vec();
    expect.extend([
        "fleet/env.yaml:1:6: warning unreachable-marker".to_owned(),
        "fleet/env.yaml:2:6: warning unreachable-marker".to_owned(),
        "fleet/two.yaml:6:4: error ambiguous".to_owned(),
        format!("{} unmatched-update", file_of("none/*.yaml", 0)),
        format!("{} unmatched-update", file_of("\"*.yaml\"", 0)),
        format!("{} bad-update", file_of("\"good.yaml\"", 1)),
        format!("{} bad-update", file_of("\"good.yaml\"", 2)),
        format!("{} bad-update", file_of("\"[\"", 0)),
    ]);
    let mut got = found(&ran);
    expect.sort();
    got.sort();
    assert_eq!((ran.code, got), (1, expect), "{ran:?}");
    for hint in [
        "it has dev, prod",
        "dev is the first environment",
        "no file matches `none/*.yaml`",
        "\"nothing\", which does not exist",
    ] {
        assert!(ran.stdout.contains(hint), "{hint}: {ran:?}");
    }
}

#[tokio::test]
async fn a_pipeline_without_a_marker_and_as_data() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "ü b.yaml", "ü: 1 M(default:podinfo)\n");
    let url = "https://github.com/org/fleet.git";
    let promotion = json!({"pullRequest": {"url": url, "secretRef": "fleet"}});
    let manifest = serde_json::to_string_pretty(&pipeline(&promotion)).unwrap();
    fs::write(folder.path().join("pipeline.json"), manifest).unwrap();
    let args = ["-f", "pipeline.json", ".", "-o"];

    let ran = lint(folder.path(), &[args.as_slice(), &["json"]].concat()).await;
    let data: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &data[0]["code"], &data[1]["code"]), (1, &json!("no-match"), &json!("malformed-marker")));

    let ran = lint(folder.path(), &[args.as_slice(), &["sarif"]].concat()).await;
    let data: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(data["version"], "2.1.0");
    let run = &data["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 2);
    let result = &run["results"][1];
    assert_eq!((&result["ruleId"], &result["level"]), (&json!("malformed-marker"), &json!("warning")));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "%C3%BC%20b.yaml");
    assert_eq!(place["region"], json!({"startLine": 1, "startColumn": 6}));
}
