//! Child processes that end with their parent.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How much of a log an error shows.
const TAIL: usize = 4096;
const POLL: Duration = Duration::from_millis(25);
/// How long [`output`] waits.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(60);

/// A running program that is killed, together with its process group, when this value is dropped or the process that
/// holds it ends, be it by SIGKILL.
///
/// A shell stands between the two and reads a pipe whose only write end is in this value: no thread has to stay alive
/// for it, as one would with `PR_SET_PDEATHSIG`, and nothing needs the parent's help when it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    guardian: Child,
    orders: Option<ChildStdin>,
    reports: BufReader<ChildStdout>,
    exit_code: Option<i32>,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both of its output streams appended to the file `log`.
    ///
    /// Program, arguments, added environment variables and working directory are taken from `command`; what it says
    /// of its standard streams is not.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        let name = Path::new(command.get_program())
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;

        let mut guardian = Command::new("sh");
        guardian
            .args(["-c", include_str!("guardian.sh"), "guardian"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .process_group(0);
        if let Some(folder) = command.get_current_dir() {
            guardian.current_dir(folder);
        }
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => guardian.env(key, value),
                None => guardian.env_remove(key),
            };
        }
        let mut guardian = guardian.spawn().with_context(|| format!("starting a shell that starts {name}"))?;
        let orders = guardian.stdin.take();
        let mut reports = BufReader::new(guardian.stdout.take().context("the guardian has no standard output")?);
        let mut line = String::new();
        reports.read_line(&mut line)?;
        let pid = line.trim().parse().with_context(|| format!("the guardian of {name} reported no process id"))?;
        Ok(Self { name, pid, guardian, orders, reports, exit_code: None, log: log.to_owned() })
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The program's file name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything that the program has written so far.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of [`Process::log`], for an error message.
    pub fn log_tail(&self) -> String {
        let log = self.log().unwrap_or_else(|error| format!("{error:#}"));
        let from = log.floor_char_boundary(log.len().saturating_sub(TAIL));
        log.get(from..).unwrap_or_default().trim_end().to_owned()
    }

    /// Sends the program a signal by its name without `SIG`, such as `TERM` or `KILL`. A program that ended is left be.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        if self.exit_code()?.is_some() {
            return Ok(());
        }
        let orders = self.orders.as_mut().with_context(|| format!("{} was stopped", self.name))?;
        match writeln!(orders, "{signal}").and_then(|()| orders.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(error).with_context(|| format!("sending {signal} to {}", self.name))
            }
            _ => Ok(()),
        }
    }

    /// The exit code, once the program has ended: 128 and the signal's number when a signal ended it.
    pub fn exit_code(&mut self) -> Result<Option<i32>> {
        if self.exit_code.is_none() && self.guardian.try_wait()?.is_some() {
            let mut line = String::new();
            self.reports.read_line(&mut line)?;
            self.exit_code = Some(line.trim().parse().unwrap_or(128 + 9));
        }
        Ok(self.exit_code)
    }

    /// Waits for the program to end by itself and answers its exit code.
    ///
    /// # Errors
    /// When it runs on for longer than `timeout`.
    pub async fn wait(&mut self, timeout: Duration) -> Result<i32> {
        let start = Instant::now();
        loop {
            if let Some(code) = self.exit_code()? {
                return Ok(code);
            }
            if start.elapsed() > timeout {
                bail!("{} still runs after {timeout:?}; its log ends with:\n{}", self.name, self.log_tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until `check` says that the program can be used.
    ///
    /// # Errors
    /// When the program ends before, or is not ready after `timeout`: both with the end of its log.
    pub async fn ready(&mut self, timeout: Duration, mut check: impl AsyncFnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        loop {
            let ready = check().await;
            if let Some(code) = self.exit_code()? {
                bail!("{} ended with code {code}; its log ends with:\n{}", self.name, self.log_tail());
            }
            if ready {
                return Ok(());
            }
            if start.elapsed() > timeout {
                bail!("{} is not ready after {timeout:?}; its log ends with:\n{}", self.name, self.log_tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills the program and its process group, and waits for their end.
    pub fn stop(&mut self) {
        self.orders.take();
        // The guardian cannot be waited for only when it was waited for already.
        let _ended = self.guardian.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a short program to its end, at most a minute, and answers its standard output.
///
/// # Errors
/// When it cannot be started, takes too long, or exits with another code than 0: the error holds its standard error.
pub async fn output(command: Command) -> Result<Vec<u8>> {
    let line = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(OUTPUT_TIMEOUT, command.output())
        .await
        .with_context(|| format!("{line} takes more than {OUTPUT_TIMEOUT:?}"))?
        .with_context(|| format!("starting {line}"))?;
    if !output.status.success() {
        bail!("{line} failed with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests;
