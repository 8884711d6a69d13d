//! What git costs a promotion: one commit that changes one value of a large repository, pushed to a branch of its own.

mod cli;
mod repository;
mod worker;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use testbed::git_server::{Step, TOKEN};
use testbed::ssh_server::Settings;
use testbed::{Ca, GitServer, RepoHandle, SshServer};

use self::cli::Cli;
use self::worker::{Access, Config, Worker};
use super::Times;

#[derive(clap::Args)]
pub struct Args {
    /// Runs of each measurement
    #[arg(long, default_value_t = 9)]
    runs: usize,
    /// Folder for repositories and clones; without it, memory if this machine has a file system there
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Promotions that begin at the same moment in the last measurement
    #[arg(long, default_value_t = 50)]
    at_once: usize,
    /// Is the process that is measured
    #[arg(long, hide = true)]
    worker: Option<PathBuf>,
}

const REPOSITORY: &str = "team/fleet";

pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(config) = &args.worker {
        return worker::serve(config);
    }
    let memory = Some(PathBuf::from("/dev/shm")).filter(|folder| folder.is_dir());
    let parent = args.folder.clone().or(memory).unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("bench-git-").tempdir_in(&parent)?;
    println!("in {}; median (from the first to the third quarter of the runs)", parent.display());
    tokio::runtime::Runtime::new()?.block_on(measure(args, folder.path()))
}

/// One way to promote, measured.
#[derive(Default)]
struct Flow {
    times: Vec<Duration>,
    requests: Vec<usize>,
    /// Bytes of bodies, from the server and to it.
    sent: Vec<u64>,
    received: Vec<u64>,
}

/// The server, and what it is asked.
struct Site {
    server: GitServer,
    repo: RepoHandle,
    seen: usize,
}

async fn measure(args: &Args, folder: &Path) -> anyhow::Result<()> {
    let ca = Ca::generate(&folder.join("ca"))?;
    let server = GitServer::start(&ca).await?;
    let repo = server.create_repo::<&str>(REPOSITORY, &[]).await?;
    repository::fill(&repo).await?;
    let mut site = Site { server, repo, seen: 0 };
    let access = Access::Https { ca: ca.pem().to_owned(), token: TOKEN.to_owned() };
    let https = Config { url: site.server.url(REPOSITORY).to_string(), access, cache: folder.join("https") };
    let sshd = SshServer::start(site.server.root(), &Settings::default()).await?;
    let access = Access::Ssh { private_key: sshd.client_key.private.clone(), known_hosts: sshd.known_hosts() };
    let ssh = Config { url: sshd.url(REPOSITORY)?.to_string(), access, cache: folder.join("ssh") };
    let mut ways = [Way::open("https", https, folder).await?, Way::open("ssh", ssh, folder).await?];

    for run in 0..args.runs {
        for way in &mut ways {
            way.cold_run(&mut site, run).await?;
        }
        site.go_on(run).await?;
        for way in &mut ways {
            way.warm_runs(&mut site, run).await?;
        }
    }
    println!("\n{:<34}{:>9}  {:>40} {:>5}  {:>22}", "", "", "", "HTTP", "bytes from/to server");
    for way in &mut ways {
        way.print()?;
    }

    let [mut https, _ssh] = ways;
    site.go_on(args.runs).await?;
    site.mark();
    let took = https.process.many(args.at_once, "at-once")?;
    let requests = site.server.requests().split_off(site.seen);
    let count = |step: Step| requests.iter().filter(|request| request.step == Some(step)).count();
    let packs = requests.iter().filter(|request| request.step == Some(Step::Fetch) && request.sent > 2_000).count();
    println!(
        "{} promotions of different applications at once: {took:.1?}; {} looks at the refs, {packs} with a pack; {} pushes; {} MB at the peak",
        args.at_once,
        count(Step::FetchRefs) + count(Step::Fetch) - packs,
        count(Step::Push),
        https.process.stop()? >> 10,
    );
    site.check(args).await
}

/// The promotions of the git program, and ours, by one way to the server.
struct Way<'a> {
    name: &'static str,
    config: Config,
    folder: &'a Path,
    cli: Cli,
    /// One process for all runs of ours that find something in the cache.
    process: Worker,
    cli_cold: Flow,
    cli_warm: Flow,
    cold: Flow,
    warm: Flow,
    unchanged: Flow,
    /// Of those processes of ours that began with an empty cache, in KiB.
    peak: u64,
}

impl<'a> Way<'a> {
    async fn open(name: &'static str, config: Config, folder: &'a Path) -> anyhow::Result<Self> {
        let cli = Cli::new(&config, folder.join(format!("cli-{name}")))?;
        cli.clone_into("warm").await?;
        cli.promote("warm", 0, &format!("warm-up/cli-{name}")).await?;
        let mut process = Worker::start(&folder.join(format!("{name}.json")), &config)?;
        process.promote(0, &format!("warm-up/{name}"))?;
        let [cli_cold, cli_warm, cold, warm, unchanged] = Default::default();
        Ok(Self { name, config, folder, cli, process, cli_cold, cli_warm, cold, warm, unchanged, peak: 0 })
    }

    /// Without a clone, and a new process with an empty cache.
    async fn cold_run(&mut self, site: &mut Site, run: usize) -> anyhow::Result<()> {
        let name = self.name;
        site.mark();
        let started = Instant::now();
        self.cli.clone_into("cold").await?;
        self.cli.promote("cold", run, &format!("cli-cold-{name}/{run}")).await?;
        site.note(&mut self.cli_cold, started.elapsed());
        self.cli.remove("cold")?;

        let config = Config { cache: self.folder.join("cold"), ..self.config.clone() };
        let started = Instant::now();
        let mut process = Worker::start(&self.folder.join("cold.json"), &config)?;
        process.promote(run, &format!("cold-{name}/{run}"))?;
        site.note(&mut self.cold, started.elapsed());
        self.peak = self.peak.max(process.stop()?);
        Ok(std::fs::remove_dir_all(&config.cache)?)
    }

    /// Once on a tip that is new, and once more on the same.
    async fn warm_runs(&mut self, site: &mut Site, run: usize) -> anyhow::Result<()> {
        let name = self.name;
        site.mark();
        let started = Instant::now();
        self.cli.update("warm").await?;
        self.cli.promote("warm", run, &format!("cli-warm-{name}/{run}")).await?;
        site.note(&mut self.cli_warm, started.elapsed());
        for (flow, kind) in [(&mut self.warm, "warm"), (&mut self.unchanged, "unchanged")] {
            let took = self.process.promote(run, &format!("{kind}-{name}/{run}"))?;
            site.note(flow, took);
        }
        Ok(())
    }

    fn print(&mut self) -> anyhow::Result<()> {
        let name = self.name;
        self.cli_cold.print(&format!("git program over {name}, cold"), None);
        self.cold.print(&format!("ours over {name}, cold"), Some(&self.cli_cold));
        self.cli_warm.print(&format!("git program over {name}, warm"), None);
        self.warm.print(&format!("ours over {name}, warm"), Some(&self.cli_warm));
        self.unchanged.print(&format!("ours over {name}, nothing changed"), Some(&self.cli_warm));
        println!("{:30}peak memory of ours: {} MB cold, {} MB warm", "", self.peak >> 10, self.process.peak()? >> 10);
        Ok(())
    }
}

impl Site {
    /// What was asked so far belongs to no measurement.
    fn mark(&mut self) {
        self.seen = self.server.requests().len();
    }

    /// Adds one run to a flow. What goes over SSH is not counted.
    fn note(&mut self, flow: &mut Flow, took: Duration) {
        let requests = self.server.requests().split_off(self.seen);
        self.seen += requests.len();
        flow.times.push(took);
        flow.requests.push(requests.len());
        flow.sent.push(requests.iter().map(|request| request.sent).sum());
        flow.received.push(requests.iter().map(|request| request.received).sum());
    }

    /// Somebody else changes three files.
    async fn go_on(&mut self, run: usize) -> anyhow::Result<()> {
        let files = [1_000, 9_000, 17_000].map(|file| repository::file(file + run, &format!("9.{run}.0")));
        let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
        self.repo.commit("main", &files, "Go on").await?;
        Ok(())
    }

    /// Every branch holds exactly one edit, and the repository is sound.
    async fn check(&self, args: &Args) -> anyhow::Result<()> {
        let branches = self.repo.branches().await?;
        ensure!(branches.len() == 5 + 10 * args.runs + args.at_once, "there are {} branches", branches.len());
        for branch in branches.keys().filter(|branch| *branch != "main") {
            let numbers = self.repo.git(&["diff", "--numstat", &format!("{branch}~"), branch]).await?;
            ensure!(numbers.lines().count() == 1 && numbers.starts_with("1\t1\t"), "{branch}: {numbers}");
        }
        self.repo.fsck().await.context("the repository is damaged")
    }
}

impl Flow {
    fn print(&self, name: &str, other: Option<&Self>) {
        let times = Times::from(self.times.clone());
        let ratio = other.map(|other| {
            let other = Times::from(other.times.clone()).median();
            format!("{:.2} of git's", times.median().as_secs_f64() / other.as_secs_f64())
        });
        let range = |values: &[usize]| {
            let (least, most) = (values.iter().min().unwrap_or(&0), values.iter().max().unwrap_or(&0));
            if least == most { least.to_string() } else { format!("{least}-{most}") }
        };
        let most = |values: &[u64]| values.iter().max().copied().unwrap_or(0);
        println!(
            "{name:<30}{:<52} {:<14}{:>4}  {:>10} / {}",
            times.to_string(),
            ratio.unwrap_or_default(),
            range(&self.requests),
            most(&self.sent),
            most(&self.received),
        );
    }
}
