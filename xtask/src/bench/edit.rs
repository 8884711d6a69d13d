//! How fast manifests are edited.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::ensure;
use promote_pr::edit::{Edited, File, Limits, Selector, Target, Update, edit};

use super::Times;

#[derive(clap::Args)]
pub struct Args {
    /// Runs of each measurement; the time of one manifest takes a hundred times as many
    #[arg(long, default_value_t = 15)]
    runs: usize,
}

const MARKER: &str = "default:podinfo:prod";

pub fn run(args: &Args) -> anyhow::Result<()> {
    screening(args)?;
    one_manifest(args)?;
    many_files(args)?;
    many_documents(args)?;
    many_markers(args)
}

fn screening(args: &Args) -> anyhow::Result<()> {
    let files: Vec<_> = (0..20_000).map(|index| (format!("apps/{index}.yaml"), manifest(index, ""))).collect();
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    let times = Times::of(args.runs, || by_marker(&files));
    ensure!(by_marker(&files) == Edited::default());
    let speed = real(bytes) / 1e9 / times.median().as_secs_f64();
    println!("20,000 unmarked files, {:.1} MB", real(bytes) / 1e6);
    println!("  screen                    {times}, {speed:.1} GB/s");
    Ok(())
}

fn one_manifest(args: &Args) -> anyhow::Result<()> {
    let file = [("apps/prod.yaml".to_owned(), small())];
    let runs = args.runs * 100;
    let times = Times::of(runs, || by_marker(&file));
    ensure!(by_marker(&file).files.len() == 1);
    println!("one manifest of {} bytes", small().len());
    println!("  edit and verify, marker   {times}");
    let selector = Selector { path: "spec.chart.spec.version".to_owned(), ..Selector::default() };
    let times = Times::of(runs, || by_path(&file, selector.clone()));
    ensure!(by_path(&file, selector).files.len() == 1);
    println!("  edit and verify, path     {times}");
    Ok(())
}

fn many_files(args: &Args) -> anyhow::Result<()> {
    let files: Vec<_> = (0..1_000).map(|index| (format!("apps/{index}.yaml"), small())).collect();
    let times = Times::of(args.runs, || by_marker(&files));
    ensure!(by_marker(&files).files.len() == 1_000);
    println!("1,000 marked files of {} bytes", small().len());
    println!("  edit and verify           {times}, {:.1?} each", times.median() / 1_000);
    Ok(())
}

fn many_documents(args: &Args) -> anyhow::Result<()> {
    let file = [("all.yaml".to_owned(), documents(&marker()))];
    let bytes = file.first().map_or(0, |(_, content)| content.len());
    println!("one file of {:.2} MB with 1,000 documents", real(bytes) / 1e6);
    let times = Times::of(args.runs, || by_marker(&file));
    ensure!(by_marker(&file).matched == 1_000);
    println!("  edit all, verify          {times}");
    let selector = Selector {
        path: "spec.chart.spec.version".to_owned(),
        name: Some("podinfo-500".to_owned()),
        ..Selector::default()
    };
    let times = Times::of(args.runs, || by_path(&file, selector.clone()));
    ensure!(by_path(&file, selector).matched == 1);
    println!("  edit one by name, verify  {times}");
    Ok(())
}

/// Time over the number of markers: a straight line shows as the same time for each.
fn many_markers(args: &Args) -> anyhow::Result<()> {
    for (title, entry) in [
        ("behind values", "- 6.2.0 # {\"$promotion\": \"default:podinfo:prod\"}\n"),
        ("on lines of their own", "# {\"$promotion\": \"default:podinfo:prod\"}\n- 6.2.0\n"),
    ] {
        println!("markers in one file, {title}");
        for count in [1_250, 2_500, 5_000, 10_000, 20_000] {
            let file = [("all.yaml".to_owned(), entry.repeat(count))];
            let times = Times::of(args.runs, || by_marker(&file));
            ensure!(by_marker(&file).matched == count);
            let each = times.median() / u32::try_from(count)?;
            println!("  {count:>6}                    {times}, {each:.2?} each  {}", bar(times.median()));
        }
    }
    Ok(())
}

/// One `#` for each 5 ms.
fn bar(time: Duration) -> String {
    "#".repeat(usize::try_from(time.as_millis() / 5).unwrap_or(0))
}

fn by_marker(files: &[(String, String)]) -> Edited {
    by(files, Target::Marker(MARKER.to_owned()))
}

fn by_path(files: &[(String, String)], selector: Selector) -> Edited {
    by(files, Target::Path(selector))
}

fn by(files: &[(String, String)], target: Target) -> Edited {
    let files = files.iter().map(|(path, content)| File { path, content: content.as_bytes() });
    edit(files, &[Update::new(target, "6.3.0")], &Limits::default())
}

fn marker() -> String {
    format!(" # {{\"$promotion\": \"{MARKER}\"}}")
}

/// A release of about 1 kB with a marker.
fn small() -> String {
    manifest(0, &marker())
}

fn documents(marker: &str) -> String {
    (0..1_000).fold(String::new(), |mut text, index| {
        write!(text, "---\n{}", manifest(index, marker)).ok();
        text
    })
}

/// A HelmRelease as Flux' guides have it.
fn manifest(index: usize, marker: &str) -> String {
    format!(
        r#"# Release of podinfo for team {index}. Changes need the approval of the platform team.
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: podinfo-{index}
  namespace: team-{index}
  labels: {{app.kubernetes.io/part-of: shop, toolkit.fluxcd.io/tenant: "team-{index}"}}
spec:
  interval: 10m
  timeout: 5m
  chart:
    spec:
      chart: podinfo
      version: '6.2.0'{marker}
      sourceRef:
        kind: HelmRepository
        name: podinfo
      interval: 5m
  releaseName: podinfo
  install:
    remediation:
      retries: 3
  upgrade:
    remediation: {{retries: 3, remediateLastFailure: true}}
  test:
    enable: true
  driftDetection:
    mode: enabled
    ignore:
      - paths: ["/spec/replicas"]
        target: {{kind: Deployment}}
  values:
    replicaCount: 2
    image:
      repository: ghcr.io/stefanprodan/podinfo
      pullPolicy: IfNotPresent
    ui:
      message: "Hello from {index}"   # shown on the first page
"#
    )
}

/// A number of bytes for arithmetic with times.
fn real(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::MAX, f64::from)
}
