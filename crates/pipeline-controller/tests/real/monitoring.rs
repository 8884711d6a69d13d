//! The dashboard and the alerts, with the programs that read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::Process;

use crate::metrics::{promoted, scraped};
use crate::world::{PATIENCE, World};

fn monitoring(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/monitoring").join(file)
}

fn promtool(args: &[&str], file: &str) -> Result<()> {
    let output = Command::new("promtool")
        .args(args)
        .arg(monitoring(file))
        .output()
        .context("there is no promtool: install the Debian package prometheus")?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}

#[test]
#[ignore = "needs promtool: run `cargo xtask test`"]
fn alerts_fire_when_they_should_and_only_then() -> Result<()> {
    promtool(&["check", "rules"], "alerts.yaml")?;
    promtool(&["test", "rules"], "alerts_test.yaml")
}

/// A Prometheus that scrapes `address` each second.
struct Prometheus {
    url: String,
    http: reqwest::Client,
    process: Process,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    async fn start(world: &World, address: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("prometheus.yml");
        let rules = monitoring("alerts.yaml").canonicalize()?;
        fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n- job_name: pipeline-controller\n  \
                 static_configs: [{{targets: ['{address}']}}]\n",
                rules.display()
            ),
        )?;
        let listen = format!("127.0.0.1:{}", testbed::ports::free()?);
        let mut command = Command::new("prometheus");
        command.arg("--config.file").arg(&config).arg("--storage.tsdb.path").arg(folder.path().join("data"));
        command.args(["--web.listen-address", &listen]);
        let mut process = Process::start(&command, &folder.path().join("prometheus.log"))?;
        let (url, http) = (format!("http://{listen}"), world.http.clone());
        let ready = format!("{url}/-/ready");
        process
            .ready(PATIENCE, async || http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()))
            .await?;
        Ok(Self { url, http, process, _folder: folder })
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), parameters)?;
        let answer: Value = serde_json::from_slice(&self.http.get(url).send().await?.bytes().await?)?;
        ensure!(answer["status"] == "success", "{answer}\n{}", self.process.log_tail());
        Ok(answer["data"].clone())
    }

    async fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let data = self.get("/api/v1/query", &[("query", expression)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }
}

/// Title and expressions of every panel.
fn panels() -> Result<Vec<(String, Vec<String>)>> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(monitoring("dashboard.json"))?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?.iter().map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let expressions = targets.filter_map(|target| target["expr"].as_str().map(str::to_owned));
        (panel["title"].as_str().unwrap_or_default().to_owned(), expressions.collect())
    });
    Ok(panels.collect())
}

#[tokio::test]
#[ignore = "needs the test bed and prometheus: run `cargo xtask test`"]
async fn prometheus_reads_the_metrics_and_every_panel_shows_something() -> Result<()> {
    let (world, address) = scraped(&[]).await?;
    let prometheus = Prometheus::start(&world, &address).await?;
    // Rates need two scrapes of a series.
    let _promoted = promoted(&world).await?;
    let hook = format!("http://127.0.0.1:{}/approval/a/b/c/d", world.hooks);
    for _ in 0..3 {
        world.http.post(&hook).body("{}").send().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    let mut left: Vec<(String, String)> = Vec::new();
    for (title, expressions) in panels()? {
        let shown = |expression: &String| {
            expression.replace("$job", ".+").replace("$__rate_interval", "1m").replace("$__range", "10m")
        };
        left.extend(expressions.iter().map(|expression| (title.clone(), shown(expression))));
    }
    ensure!(left.len() > 30, "only {} expressions", left.len());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut empty = Vec::new();
        for (title, expression) in left {
            if prometheus.query(&expression).await?.is_empty() {
                empty.push((title, expression));
            }
        }
        if empty.is_empty() {
            break;
        }
        ensure!(Instant::now() < deadline, "these panels show nothing: {empty:#?}");
        left = empty;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    let targets = prometheus.get("/api/v1/targets", &[]).await?;
    assert_eq!(targets["activeTargets"][0]["health"], "up", "{targets}");
    let rules = prometheus.get("/api/v1/rules", &[]).await?;
    for rule in rules["groups"].as_array().into_iter().flatten().flat_map(|group| group["rules"].as_array()).flatten() {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
    Ok(())
}
