//! Calls of the program.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What a call came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Everything that was printed.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

pub fn pipelinectl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipelinectl"));
    command.args(args).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy);
    }
    command
}

pub async fn run(args: &[&str]) -> Ran {
    finish(pipelinectl(args), b"").await
}

pub async fn run_in(folder: &Path, args: &[&str]) -> Ran {
    let mut command = pipelinectl(args);
    command.current_dir(folder);
    finish(command, b"").await
}

pub async fn run_with(args: &[&str], stdin: &[u8]) -> Ran {
    finish(pipelinectl(args), stdin).await
}

async fn finish(mut command: Command, stdin: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A program that does not read its input closes it.
    child.stdin.take().unwrap().write_all(stdin).await.ok();
    let output = child.wait_with_output().await.unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    ran
}
