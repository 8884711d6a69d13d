//! Many Pipelines shared out among processes, on a real API server: how long the first pass takes, and what each process needs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use testbed::{Process, Receiver, Testbed};

use super::controller::{PATIENCE, Stage, build, command, define, peak, processor_time, resident};

#[derive(clap::Args)]
pub struct Args {
    /// Numbers of Pipelines, one round each
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    pipelines: Vec<usize>,
    /// Numbers of processes that share them
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    processes: Vec<u32>,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    let program = build()?;
    for pipelines in &args.pipelines {
        println!("\n{pipelines} Pipelines");
        println!(
            "| processes | first pass | ready after | memory of each, most | all together | processor time of all |"
        );
        println!("|---|---|---|---|---|---|");
        let bed = Testbed::start().await?;
        let receiver = Receiver::start(&bed.ca).await?;
        let stage = Stage { client: bed.control_plane.client().await?, receiver };
        define(&bed).await?;
        stage.make(*pipelines).await?;
        for processes in &args.processes {
            round(&stage, &program, &bed, *pipelines, *processes).await?;
            stage.forget(*pipelines).await?;
        }
    }
    Ok(())
}

async fn round(stage: &Stage, program: &Path, bed: &Testbed, pipelines: usize, of: u32) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let mut controllers = Vec::new();
    for index in 0..of {
        let health = testbed::ports::free()?;
        let mut command = command(program, bed, &folder.path().join(format!("cache-{index}")), health)?;
        command.args(["--shard", &format!("{index}/{of}")]).args([
            "--leader-elect",
            "--leader-election-namespace",
            "default",
        ]);
        let process = Process::start(&command, &folder.path().join(format!("{index}.log")))?;
        controllers.push((process, health));
    }
    let ready = ready(bed, &mut controllers, started).await?;
    let first_pass = stage
        .seen(&mut controllers.iter_mut().map(|(process, _)| process).collect::<Vec<_>>(), pipelines, started)
        .await?;
    // What was allocated for the first pass is given back within a moment.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (mut all, mut most, mut highest, mut busy) = (0, 0, 0, Duration::ZERO);
    for (controller, _) in &controllers {
        let pid = controller.pid();
        let now = resident(pid)?;
        (all, most, highest) = (all + now, most.max(now), highest.max(peak(pid)?));
        busy += processor_time(pid)?;
    }
    println!(
        "| {of} | {first_pass:.1?} | {ready:.1?} | {} MB, {} MB at the peak | {} MB | {busy:.1?} |",
        most / 1_000_000,
        highest / 1_000_000,
        all / 1_000_000
    );
    Ok(())
}

/// The time until all processes say that they are ready.
async fn ready(bed: &Testbed, controllers: &mut [(Process, u16)], started: Instant) -> anyhow::Result<Duration> {
    let http = bed.ca.http_client()?;
    for (controller, port) in controllers {
        loop {
            ensure!(controller.exit_code()?.is_none(), "the controller ended:\n{}", controller.log_tail());
            ensure!(started.elapsed() < PATIENCE, "it is not ready:\n{}", controller.log_tail());
            let answer = http.get(format!("http://127.0.0.1:{port}/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(started.elapsed())
}
