//! What the process itself uses, of Linux' `/proc`; what cannot be read is left out.

use std::fs;

/// [Ticks of a second](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html), the same on all machines that Linux runs on.
const TICKS: f64 = 100.0;

pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: i64,
    pub(super) open_files: i64,
    pub(super) max_files: i64,
    /// Since 1970.
    pub(super) started: i64,
}

pub(super) fn usage() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything, comes the third field.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field.checked_sub(3)?)?.parse::<u32>().ok();
    let boot = line(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let max_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    Some(Usage {
        cpu_seconds: f64::from(ticks(14)?.saturating_add(ticks(15)?)) / TICKS,
        resident_bytes: line(&status, "VmRSS:")?.saturating_mul(1024),
        open_files: i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?,
        max_files: max_files.split_whitespace().next()?.parse().unwrap_or(i64::MAX),
        started: boot.saturating_add(i64::from(ticks(22)?) / 100),
    })
}

fn line(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = usage().unwrap();
        assert!(usage.cpu_seconds >= 0.0 && usage.resident_bytes > 1 << 20 && usage.open_files > 2);
        assert!(usage.max_files >= usage.open_files && usage.started > 1_600_000_000);
    }
}
