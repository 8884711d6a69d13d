use super::*;

/// Set in the process that [`ends_with_a_killed_parent`] starts and kills.
const HELPER: &str = "TESTBED_PROCESS_HELPER";

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn runs(pid: u32) -> bool {
    // A process that nobody has waited for yet is a zombie: it has ended.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| state != 'Z')
}

fn wait_until_gone(pid: u32) {
    let start = Instant::now();
    while runs(pid) {
        assert!(start.elapsed() < Duration::from_secs(5), "process {pid} still runs");
        std::thread::sleep(POLL);
    }
}

#[tokio::test]
async fn reports_exit_code_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut process = Process::start(
        sh("echo out; echo err >&2; echo $WORD; pwd; exit 7").env("WORD", "hello").current_dir("/"),
        &log,
    )
    .unwrap();
    assert_eq!(process.wait(Duration::from_secs(5)).await.unwrap(), 7);
    assert_eq!(process.log().unwrap(), "out\nerr\nhello\n/\n");
    process.signal("TERM").unwrap();
}

#[tokio::test]
async fn passes_signals_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut process =
        Process::start(&sh("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"), &log).unwrap();
    let up = log.clone();
    process
        .ready(Duration::from_secs(5), async || std::fs::read_to_string(&up).is_ok_and(|log| log == "up\n"))
        .await
        .unwrap();
    process.signal("TERM").unwrap();
    assert_eq!(process.wait(Duration::from_secs(5)).await.unwrap(), 3);
    assert_eq!(process.log().unwrap(), "up\nbye\n");

    let mut process = Process::start(&sh("exec sleep 600"), &log).unwrap();
    process.signal("KILL").unwrap();
    assert_eq!(process.wait(Duration::from_secs(5)).await.unwrap(), 137);
}

#[tokio::test]
async fn a_failed_start_shows_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut process = Process::start(&sh("echo no such flag >&2; exit 2"), &log).unwrap();
    let error = process.ready(Duration::from_secs(5), async || false).await.unwrap_err().to_string();
    assert_eq!(error, "sh ended with code 2; its log ends with:\nno such flag");

    let mut process = Process::start(&Command::new("/no/such/program"), &log).unwrap();
    let error = process.ready(Duration::from_secs(5), async || false).await.unwrap_err().to_string();
    assert!(error.starts_with("program ended with code 127"), "{error}");
}

#[test]
fn a_drop_ends_the_process_and_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let process = Process::start(&sh("trap '' TERM; sleep 600 & echo $!; wait"), &log).unwrap();
    let start = Instant::now();
    let child = loop {
        if let Ok(child) = process.log().unwrap().trim().parse() {
            break child;
        }
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(POLL);
    };
    assert!(runs(process.pid()) && runs(child));
    let pid = process.pid();
    drop(process);
    wait_until_gone(pid);
    wait_until_gone(child);
}

/// Not a test in itself: what [`ends_with_a_killed_parent`] runs in another process.
#[test]
#[expect(clippy::disallowed_methods, reason = "tells the process that is to be killed from a plain test run")]
fn helper_that_holds_a_process() {
    let Some(log) = std::env::var_os(HELPER) else { return };
    // The thread that starts a process may end long before its process does.
    let process = std::thread::spawn(move || Process::start(&sh("exec sleep 600"), Path::new(&log)).unwrap());
    let first = process.join().unwrap();
    println!("pid {}", first.pid());
    let process = Process::start(&sh("exec sleep 600"), Path::new("/dev/null")).unwrap();
    println!("pid {}", process.pid());
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn ends_with_a_killed_parent() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::tests::helper_that_holds_a_process", "--nocapture"])
        .env(HELPER, folder.path().join("log"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let pids: Vec<u32> = lines
        .map_while(Result::ok)
        .filter_map(|line| line.split_once("pid ").map(|(_, pid)| pid.parse().unwrap()))
        .take(2)
        .collect();
    assert_eq!(pids.len(), 2);
    assert!(runs(pids[1]));
    parent.kill().unwrap();
    parent.wait().unwrap();
    for pid in pids {
        wait_until_gone(pid);
    }
}
