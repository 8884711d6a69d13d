//! Checks that no compiler makes.

use std::path::{Path, PathBuf};
use std::{fs, iter};

use anyhow::{Context as _, bail, ensure};

use crate::root;

/// Modules that decide and take no part in the world, and what has no place in them.
const PURE: &[&str] = &[
    "crates/pipeline-controller/src/approve.rs",
    "crates/pipeline-controller/src/decide.rs",
    "crates/pipeline-controller/src/decide/endings.rs",
    "crates/pipeline-controller/src/decide/records.rs",
    "crates/pipeline-controller/src/decide/versions.rs",
    "crates/pipeline-controller/src/conclude.rs",
    "crates/pipeline-controller/src/conclude/conditions.rs",
    "crates/pipeline-controller/src/conclude/transitions.rs",
    "crates/pipeline-controller/src/heard.rs",
    "crates/pipeline-controller/src/observe/application.rs",
    "crates/pipeline-controller/src/observed.rs",
    "crates/pipeline-controller/src/outcome.rs",
    "crates/pipeline-controller/src/plan.rs",
    "crates/pipeline-controller/src/value.rs",
];
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "::now()",
    "Instant",
    "SystemTime",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "tokio",
    "kube::Api",
    "kube::Client",
    "Client",
    "Context",
    "egress",
    "rand",
    "tracing",
    "println!",
];

/// Documents whose paths have to exist.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/endpoints.md",
    "docs/install.md",
    "docs/markers.md",
    "docs/migrating.md",
    "docs/receive-a-promotion.md",
    "docs/status.md",
];

/// Lines of production code in one file; beyond it, a file has two subjects.
const LONGEST_FILE: usize = 500;

pub fn run() -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for path in PURE {
        findings.extend(impurities(path)?);
    }
    for path in DOCUMENTS {
        findings.extend(missing_paths(path)?);
    }
    findings.extend(missing_tests("ARCHITECTURE.md")?);
    findings.extend(missing_tests("docs/migrating.md")?);
    findings.extend(stray_writers()?);
    findings.extend(long_files()?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    ensure!(findings.is_empty(), "{} findings", findings.len());
    Ok(())
}

fn impurities(path: &str) -> anyhow::Result<Vec<String>> {
    let text = read(path)?;
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    Ok(code
        .flat_map(|(index, line)| {
            let found = IMPURE.iter().filter(move |word| line.contains(*word));
            found.map(move |word| format!("{path}:{}: `{}` has no place in a pure module", index + 1, word.trim()))
        })
        .collect())
}

/// Whatever stands in backticks or as a link's target and looks like a path of this repository has to be one.
fn missing_paths(document: &str) -> anyhow::Result<Vec<String>> {
    let text = read(document)?;
    let quoted = text.lines().enumerate().flat_map(|(index, line)| {
        let ticks = line.split('`').skip(1).step_by(2);
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        ticks.chain(links).map(move |word| (index + 1, word.to_owned()))
    });
    Ok(quoted
        .filter(|(_, word)| looks_like_a_path(word) && !root().join(word.trim_end_matches('/')).exists())
        .map(|(line, word)| format!("{document}:{line}: there is no {word}"))
        .collect())
}

/// Whatever stands in backticks and looks like the name of a test has to be one.
fn missing_tests(document: &str) -> anyhow::Result<Vec<String>> {
    let text = read(document)?;
    let is_name = |word: &&str| {
        word.matches('_').count() >= 3 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut code = String::new();
    for path in sources(&root().join("crates"))? {
        code += &fs::read_to_string(&path)?;
    }
    let names = text.split('`').skip(1).step_by(2).filter(is_name);
    Ok(names
        .filter(|name| !code.contains(&format!("fn {name}(")))
        .map(|name| format!("{document}: there is no test {name}"))
        .collect())
}

/// Status and events have one writer.
fn stray_writers() -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in sources(&root().join("crates/pipeline-controller/src"))? {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        let text = fs::read_to_string(&path)?;
        if name.ends_with("src/record.rs") || name.ends_with("tests.rs") {
            continue;
        }
        for word in ["patch_status", "replace_status", ".publish("] {
            if text.contains(word) {
                findings.push(format!("{name}: `{word}` has no place outside record.rs"));
            }
        }
    }
    Ok(findings)
}

fn looks_like_a_path(word: &str) -> bool {
    let first = word.split('/').next().unwrap_or_default();
    let known = ["crates", "examples", "xtask", "deploy", "docs", "fuzz", ".ci", ".cargo"];
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    plain && ((word.contains('/') && known.contains(&first)) || (!word.contains('/') && word.ends_with(".md")))
}

fn long_files() -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in sources(&root().join("crates"))?.into_iter().chain(sources(&root().join("xtask"))?) {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        if name.contains("/tests/") || name.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| name.clone())?;
        let production = text.lines().take_while(|line| *line != "mod tests {").count();
        if production > LONGEST_FILE {
            findings.push(format!("{name}: {production} lines of code: split it by subject"));
        }
    }
    Ok(findings)
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else {
            found.extend(iter::once(path).filter(|path| path.extension().is_some_and(|extension| extension == "rs")));
        }
    }
    Ok(found)
}

fn read(path: &str) -> anyhow::Result<String> {
    let full = root().join(path);
    match fs::read_to_string(&full) {
        Ok(text) => Ok(text),
        Err(error) => bail!("{path}: {error}"),
    }
}
