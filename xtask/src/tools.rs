//! Programs that checks and tests need: found, else built or installed.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::ensure;

/// OpenSSH's server. Root installs it on Debian, where that also starts it as a service; anybody else is told how.
pub fn sshd() -> anyhow::Result<()> {
    debian("openssh-server", || testbed::tools::sshd().map(drop))
}

/// A receiver of webhooks and a proxy that others have written, for the tests of promote-webhook.
pub fn webhook() -> anyhow::Result<()> {
    for name in ["webhook", "tinyproxy"] {
        debian(name, || {
            let found =
                ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().any(|folder| Path::new(folder).join(name).exists());
            ensure!(found, "{name} is missing: install the Debian package {name}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Prometheus, and promtool for its rules. Debian starts it as a service where there is a service manager.
pub fn prometheus() -> anyhow::Result<()> {
    debian("prometheus", || {
        for name in ["prometheus", "promtool"] {
            let found = ["/usr/bin", "/usr/local/bin"].iter().any(|folder| Path::new(folder).join(name).exists());
            ensure!(found, "{name} is missing: install the Debian package prometheus");
        }
        Ok(())
    })
}

/// Installs a Debian package if the check fails: root does it, anybody else is told what is missing.
fn debian(package: &str, check: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let Err(absent) = check() else { return Ok(()) };
    let id = Command::new("id").arg("-u").output()?;
    let is_root = String::from_utf8_lossy(&id.stdout).trim() == "0";
    if !is_root || Command::new("apt-get").arg("--version").output().is_err() {
        return Err(absent);
    }
    eprintln!("==> installing {package} with apt-get, for some seconds");
    let status = Command::new("apt-get").args(["install", "-y", "-qq", package]).status()?;
    ensure!(status.success(), "`apt-get install -y {package}` failed; `apt-get update` may be needed before");
    check()
}

/// The program that reads and copies images, for the tests of `cargo xtask image`.
pub fn skopeo() -> anyhow::Result<()> {
    debian("skopeo", || {
        let found = Command::new("skopeo").arg("--version").output().is_ok_and(|output| output.status.success());
        ensure!(found, "skopeo is missing: install the Debian package skopeo");
        Ok(())
    })
}

/// The versions that `Dockerfile` names too.
pub const CARGO_ZIGBUILD: &str = "0.24.1";
pub const ZIG: &str = "0.15.2";

/// cargo-zigbuild, and the folder that holds its `zig`: the one on PATH, else the wheel of it in the user's cache.
pub fn zigbuild() -> anyhow::Result<(PathBuf, PathBuf)> {
    let zigbuild = cargo_tool("cargo-zigbuild", CARGO_ZIGBUILD)?;
    let path = Command::new("sh").args(["-c", "command -v zig"]).output()?;
    if path.status.success() {
        let program = PathBuf::from(String::from_utf8(path.stdout)?.trim());
        return Ok((zigbuild, program.parent().map(Path::to_owned).unwrap_or_default()));
    }
    let folder = testbed::tools::cache_folder()?.join(format!("zig-{ZIG}"));
    let python = folder.join("bin/python");
    let locate = || {
        let mut find = Command::new(&python);
        find.args(["-c", "import os, ziglang; print(os.path.dirname(ziglang.__file__))"]).output()
    };
    if !locate().is_ok_and(|output| output.status.success()) {
        eprintln!("==> installing Zig {ZIG} once, about 400 MB");
        let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).status()?;
        let pip =
            Command::new(folder.join("bin/pip")).args(["install", "--quiet", &format!("ziglang=={ZIG}")]).status();
        ensure!(
            made.success() && pip.is_ok_and(|status| status.success()),
            "cannot install Zig: it takes Python with venv (Debian's python3-venv) and pip, or put `zig` on PATH"
        );
    }
    let output = locate()?;
    ensure!(output.status.success(), "Zig is not in {}", folder.display());
    Ok((zigbuild, PathBuf::from(String::from_utf8(output.stdout)?.trim())))
}

/// The standard library for a target of the compiler.
pub fn rust_target(target: &str) -> anyhow::Result<()> {
    let rustc = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output()?;
    if Path::new(String::from_utf8_lossy(&rustc.stdout).trim()).exists() {
        return Ok(());
    }
    eprintln!("==> adding Rust's standard library for {target}");
    let added = Command::new("rustup").args(["target", "add", target]).status();
    ensure!(added.is_ok_and(|status| status.success()), "Rust has no {target}: `rustup target add {target}` adds it");
    Ok(())
}

/// The plug-in of cargo, such as `cargo-deny`: the one on PATH, else the one in the user's cache, else built into it.
pub fn cargo_tool(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    // Not every one knows `--version`.
    let is_there =
        |program: &OsStr| Command::new(program).arg("--help").output().is_ok_and(|output| output.status.success());
    if is_there(name.as_ref()) {
        return Ok(name.into());
    }
    let folder = testbed::tools::cache_folder()?.join("cargo");
    let program = folder.join("bin").join(name);
    if !is_there(program.as_os_str()) {
        eprintln!("==> building {name} {version} once, for some minutes");
        let started = Instant::now();
        let mut install = Command::new(env!("CARGO"));
        install.args(["install", "--quiet", "--locked", name, "--version", version, "--root"]).arg(&folder);
        // Not into the workspace's target folder: nothing of it is shared.
        let status = install.env_remove("CARGO_TARGET_DIR").current_dir(env::temp_dir()).status()?;
        ensure!(status.success(), "cannot build {name}; install it with `cargo install --locked {name}`");
        eprintln!("    built after {:.1} s", started.elapsed().as_secs_f32());
    }
    Ok(program)
}
