//! What a scrape tells after a scenario; the log while much and while nothing happens.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pipeline_api::Phase;
use pipeline_controller::metrics::table::TABLE;
use serde_json::{Value, json};
use testbed::Receiver;

use crate::world::{Hosts, World};

/// A controller whose metrics are read at the returned address.
pub async fn scraped(flags: &[&str]) -> Result<(World, String)> {
    let mut world = World::without_controller().await?;
    let address = format!("127.0.0.1:{}", testbed::ports::free()?);
    world.start(&[&["--metrics-bind-address", &address], flags].concat()).await?;
    Ok((world, address))
}

/// A promotion by pull request and one by webhook, from ready to live.
pub async fn promoted(world: &World) -> Result<(Hosts, Receiver)> {
    let hosts = world.github("6.0.0").await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    hosts.github.merge("acme/fleet", 1).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;

    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.2.0").await?;
    world.promotion("6.2.0", Phase::Delivered).await?;
    world.prod_is_at("6.2.0").await?;
    world.promotion("6.2.0", Phase::Succeeded).await?;
    Ok((hosts, receiver))
}

async fn scrape(world: &World, address: &str) -> Result<String> {
    let answer = world.http.get(format!("http://{address}/metrics")).send().await?;
    let type_ = answer.headers().get("content-type").context("no content type")?;
    assert!(type_.to_str()?.starts_with("application/openmetrics-text; version=1.0.0"), "{type_:?}");
    Ok(answer.text().await?)
}

/// The sum of all series of a metric that have all these labels.
fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let found = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let is_it = series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label));
        value.parse::<f64>().ok().filter(|_| is_it)
    });
    found.sum()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn after_a_scenario_every_documented_metric_is_there_and_no_other() -> Result<()> {
    let (world, address) = scraped(&[]).await?;
    let (_hosts, receiver) = promoted(&world).await?;
    let refused = format!("http://127.0.0.1:{}/approval/a/b/c/d", world.hooks);
    assert_eq!(world.http.post(refused).body("{}").send().await?.status(), 401);

    let text = scrape(&world, &address).await?;
    assert!(text.ends_with("# EOF\n"));
    let series: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect();
    let undocumented: BTreeSet<_> =
        series.iter().filter(|sample| !TABLE.iter().any(|row| row.is_named(sample))).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
    let missing: Vec<_> =
        TABLE.iter().filter(|row| !series.iter().any(|sample| row.is_named(sample))).map(|row| row.name).collect();
    assert!(missing.is_empty(), "{missing:?}\n{text}");

    let count = |name: &str, labels: &[&str]| sum(&text, name, labels).round();
    for (milestone, strategy, expect) in [
        ("opened", "pull-request", 1.0),
        ("merged", "pull-request", 1.0),
        ("delivered", "webhook", 1.0),
        ("live", "pull-request", 1.0),
        ("live", "webhook", 1.0),
    ] {
        let labels = [format!("milestone=\"{milestone}\""), format!("strategy=\"{strategy}\"")];
        let counted = count("pipeline_controller_promotion_lead_time_seconds_count", &[&labels[0], &labels[1]]);
        assert_eq!(counted, expect, "{labels:?}");
    }
    assert_eq!(count("pipeline_controller_pipelines", &[]), 1.0);
    assert_eq!(count("pipeline_controller_promotions", &["phase=\"Succeeded\"", "strategy=\"webhook\""]), 1.0);
    let opened = ["phase=\"Open\"", "strategy=\"pull-request\"", "provider=\"github\""];
    assert_eq!(count("pipeline_controller_promotion_transitions_total", &opened), 1.0);
    let delivered = ["strategy=\"webhook\"", "outcome=\"done\""];
    assert_eq!(count("pipeline_controller_promotion_attempts_total", &delivered), 1.0);
    assert_eq!(count("pipeline_controller_git_cache_lookups_total", &["result=\"filled\""]), 1.0);
    assert!(count("pipeline_controller_git_operations_total", &["action=\"push\"", "result=\"done\""]) >= 1.0);
    assert!(count("pipeline_controller_git_bytes_total", &["direction=\"received\""]) > 300.0);
    assert!(count("pipeline_controller_git_bytes_total", &["direction=\"sent\""]) > 300.0);
    assert_eq!(count("pipeline_controller_endpoint_requests_total", &["endpoint=\"approval\"", "code=\"401\""]), 1.0);
    assert!(count("pipeline_controller_host_quota_remaining", &["api=\"rest\""]) > 1.0);
    assert!(count("pipeline_controller_watches", &["state=\"watched\""]) >= 1.0);
    let peer = format!("host=\"{}\"", receiver.url().authority());
    assert_eq!(count("pipeline_controller_host_requests_total", &[&peer, "outcome=\"success\""]), 1.0);
    assert_eq!(count("controller_runtime_reconcile_errors_total", &[]), 0.0);
    assert!(count("workqueue_queue_duration_seconds_count", &[]) >= 4.0);
    assert!(count("rest_client_requests_total", &["method=\"PATCH\"", "code=\"200\""]) >= 4.0);
    assert!(!text.contains("podinfo") && !text.contains(&world.namespace), "a name is in a label:\n{text}");

    world.cluster.kubectl(&["delete", "pipeline", "podinfo", "-n", &world.namespace]).await?;
    let deadline = std::time::Instant::now() + crate::world::PATIENCE;
    while sum(&scrape(&world, &address).await?, "pipeline_controller_pipelines", &[]) > 0.0 {
        assert!(std::time::Instant::now() < deadline, "a Pipeline that is gone is still counted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The lines of a log in JSON.
fn lines(log: &str) -> Vec<Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn one_line_for_each_change_and_none_while_nothing_happens() -> Result<()> {
    let (world, _) = scraped(&["--log-level", "info", "--log-encoding", "json"]).await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    let open = world.promotion("6.1.0", Phase::Open).await?;

    // The pull request is looked at each second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, looks) = (world.log(), hosts.github.requests().len());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(hosts.github.requests().len() > looks + 5, "the controller did nothing that it could be silent about");
    assert_eq!(world.log(), before, "something is logged although nothing changed");

    hosts.github.merge("acme/fleet", 1).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    let told: Vec<Value> =
        lines(&world.log()).into_iter().filter(|line| line.get("reason").is_some_and(Value::is_string)).collect();
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let all: Vec<_> = told.iter().map(|line| (text(line, "reason"), text(line, "promotion.phase"))).collect();
    let expect = [
        ("PromotionStarted", "Pending"),
        ("PullRequestOpened", "Open"),
        ("PullRequestMerged", "Delivered"),
        ("PromotionSucceeded", "Succeeded"),
    ];
    assert_eq!(all, expect.map(|(reason, phase)| (reason.to_owned(), phase.to_owned())));
    for line in &told {
        assert_eq!(text(line, "promotion.id"), open.id, "{line}");
        assert_eq!(text(line, "environment"), "prod", "{line}");
        let object = (text(line, "pipeline.namespace"), text(line, "pipeline.name"));
        assert_eq!(object, (world.namespace.clone(), "podinfo".to_owned()), "{line}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_level_of_the_log_changes_while_the_controller_runs() -> Result<()> {
    let (world, address) = scraped(&["--log-level", "info"]).await?;
    let url = format!("http://{address}/log-level");
    let get = async || anyhow::Ok(world.http.get(&url).send().await?.text().await?);
    assert_eq!(get().await?, "info\n");
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    assert!(!world.log().contains("DEBUG"), "{}", world.log());

    let wrong = world.http.put(&url).body("loud").send().await?;
    assert_eq!((wrong.status().as_u16(), get().await?.as_str()), (400, "info\n"));
    assert_eq!(world.http.put(&url).body("debug\n").send().await?.text().await?, "debug\n");
    world.dev_is_at("6.2.0").await?;
    world.promotion("6.2.0", Phase::Open).await?;
    assert!(world.log().contains("DEBUG"), "{}", world.log());

    world.http.put(&url).body("error").send().await?.error_for_status()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = world.log();
    world.dev_is_at("6.3.0").await?;
    world.promotion("6.3.0", Phase::Open).await?;
    assert_eq!(world.log(), before);
    Ok(())
}
