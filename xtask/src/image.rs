//! `cargo xtask image`: the container image, as the Dockerfile builds it, without a container engine.

mod elf;
mod layout;
mod rootfs;
mod sbom;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use serde_json::Value;

use self::layout::Image;
use crate::{root, tools};

/// The largest binary and the largest layer, in bytes.
const LARGEST: usize = 30 << 20;

#[derive(clap::Args)]
pub struct Args {
    /// Architecture to build for; may be given more than once
    #[arg(long, value_enum, default_values_t = [Arch::Amd64, Arch::Arm64])]
    arch: Vec<Arch>,
    /// Folder for the OCI layout and the software bill of materials; by default `image` in cargo's target folder
    #[arg(long)]
    output: Option<PathBuf>,
    /// Certificate authorities that the image trusts, as PEM
    #[arg(long, default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca_bundle: PathBuf,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    /// As OCI, and Go, name it.
    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn is_this_machines(self) -> bool {
        match self {
            Self::Amd64 => cfg!(target_arch = "x86_64"),
            Self::Arm64 => cfg!(target_arch = "aarch64"),
        }
    }

    /// The target of the compiler: musl, for nothing else is linked statically with a resolver that works.
    fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }
}

/// Builds the binaries, checks them, and writes one image for all architectures.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let output = match &args.output {
        Some(output) => output.clone(),
        None => target_folder()?.join("image"),
    };
    let certificates =
        fs::read(&args.ca_bundle).with_context(|| format!("cannot read --ca-bundle {}", args.ca_bundle.display()))?;
    let license = fs::read(root().join("LICENSE"))?;
    let mut images = Vec::new();
    for arch in &args.arch {
        let path = build(*arch)?;
        let binary = fs::read(&path)?;
        elf::check_static(&binary, *arch).with_context(|| format!("the binary for {}", arch.name()))?;
        if arch.is_this_machines() {
            runs_alone(&path)?;
        }
        let layer = rootfs::layer(&rootfs::files(&binary, &certificates, &license))?;
        ensure!(layer.tar.len() <= LARGEST, "{}: {} bytes are more than {LARGEST}", arch.name(), layer.tar.len());
        println!("{}: {} unpacked, {} packed, static", arch.name(), mib(layer.tar.len()), mib(layer.gzip.len()));
        images.push(Image { arch: arch.name(), layer });
        sbom::write(*arch, &output)?;
    }
    let name = name()?;
    let digest = layout::write(&output.join("layout"), &name, &images)?;
    println!("{name}@{digest}\nin {}", output.display());
    println!("push it with `skopeo copy --all oci:{} docker://{name}`", output.join("layout").display());
    Ok(())
}

/// Starts the binary as the image does, without anything of this machine's environment.
fn runs_alone(binary: &Path) -> anyhow::Result<()> {
    let output = Command::new(binary).arg("--version").env_clear().output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    let expected = concat!("pipeline-controller ", env!("CARGO_PKG_VERSION"));
    ensure!(told.trim() == expected, "the binary says {:?} and not {expected:?}", told.trim());
    Ok(())
}

fn mib(bytes: usize) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// The image's name and tag, as the chart has them.
fn name() -> anyhow::Result<String> {
    let values = fs::read_to_string(root().join("deploy/helm/pipeline-controller/values.yaml"))?;
    let values: Value = serde_saphyr::from_str(&values).context("the chart's values.yaml is no YAML")?;
    let repository = values.pointer("/image/repository").and_then(Value::as_str);
    Ok(format!("{}:{}", repository.context("the chart's values.yaml names no image")?, env!("CARGO_PKG_VERSION")))
}

fn target_folder() -> anyhow::Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "how cargo is told where to build")]
    let folder = env::var_os("CARGO_TARGET_DIR");
    Ok(folder.map_or_else(|| root().join("target"), PathBuf::from))
}

/// Builds the binary in the release profile. Zig is its C compiler and linker: one tool for both architectures.
fn build(arch: Arch) -> anyhow::Result<PathBuf> {
    let target = arch.target();
    tools::rust_target(target)?;
    let (zigbuild, zig) = tools::zigbuild()?;
    eprintln!("==> building pipeline-controller for {target}");
    let path = env::join_paths([zig].into_iter().chain(env::split_paths(&path())))?;
    let mut command = Command::new(zigbuild);
    command
        .args(["zigbuild", "--release", "--locked", "--package", "pipeline-controller", "--target", target])
        .env("PATH", path)
        .env("CARGO_ENCODED_RUSTFLAGS", remapped()?)
        .current_dir(root());
    let status = command.status().context("cannot run cargo-zigbuild")?;
    ensure!(status.success(), "the build for {target} failed");
    Ok(target_folder()?.join(target).join("release/pipeline-controller"))
}

#[expect(clippy::disallowed_methods, reason = "handed on to a child with one folder more")]
fn path() -> std::ffi::OsString {
    env::var_os("PATH").unwrap_or_default()
}

/// Flags that keep this machine's folders out of the binary, so that it is the same wherever it is built.
fn remapped() -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "where cargo keeps the sources of dependencies")]
    let (cargo, home) = (env::var_os("CARGO_HOME"), env::var_os("HOME"));
    let cargo = cargo.map(PathBuf::from).or_else(|| Some(Path::new(&home?).join(".cargo")));
    let cargo = cargo.context("neither CARGO_HOME nor HOME is set")?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    // Separated as Cargo wants it: https://doc.rust-lang.org/cargo/reference/environment-variables.html
    Ok(format!("{}\u{1f}{}", remap(&cargo, "/cargo"), remap(root(), "/src")))
}

#[cfg(test)]
mod tests;
