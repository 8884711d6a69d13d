//! The software bill of materials: every crate in the binary, in CycloneDX.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::Arch;
use crate::{root, tools};

/// The version of cargo-cyclonedx that is installed when none is there.
const CARGO_CYCLONEDX: &str = "0.5.9";

/// Writes `pipeline-controller.<arch>.cdx.json` into `folder`: the same bytes for the same Cargo.lock, wherever it is made.
pub(super) fn write(arch: Arch, folder: &Path) -> anyhow::Result<()> {
    let program = tools::cargo_tool("cargo-cyclonedx", CARGO_CYCLONEDX)?;
    let mut command = Command::new(program);
    command
        .args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--describe", "binaries"])
        .args(["--no-build-deps", "--target", arch.target()])
        .env("SOURCE_DATE_EPOCH", "0")
        .current_dir(root());
    let status = command.status().context("cannot run cargo-cyclonedx")?;
    ensure!(status.success(), "cargo-cyclonedx failed");
    // It leaves a file in the folder of each member that has a program.
    let mut found = None;
    for path in left_in_members()? {
        if path.ends_with("pipeline-controller_bin.cdx.json") {
            found = Some(fs::read_to_string(&path)?);
        }
        fs::remove_file(path)?;
    }
    let text = found.context("cargo-cyclonedx wrote nothing about pipeline-controller")?;
    fs::create_dir_all(folder)?;
    let file = folder.join(format!("pipeline-controller.{}.cdx.json", arch.name()));
    fs::write(&file, text.replace(&root().display().to_string(), "/src"))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn left_in_members() -> anyhow::Result<Vec<PathBuf>> {
    let mut members = vec![root().join("examples"), root().join("xtask")];
    for entry in fs::read_dir(root().join("crates"))? {
        members.push(entry?.path());
    }
    let mut left = Vec::new();
    for member in members.iter().filter(|member| member.is_dir()) {
        for entry in fs::read_dir(member)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("_bin.cdx.json") {
                left.push(path);
            }
        }
    }
    Ok(left)
}
