//! Traces, as a collector gets them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use pipeline_api::Phase;
use prost::Message as _;
use serde_json::json;
use testbed::Receiver;
use uuid::Uuid;

use crate::world::{PATIENCE, World};

/// All spans that came, decoded from OTLP's protobuf.
fn spans(collector: &Receiver) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for request in collector.received() {
        assert_eq!(request.path, "/webhooks/promotion/v1/traces");
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        let export = ExportTraceServiceRequest::decode(request.body.as_slice())?;
        for resource in export.resource_spans {
            let service = resource.resource.iter().flat_map(|resource| &resource.attributes);
            assert!(service.clone().any(|attribute| attribute.key == "service.name"), "whose spans are these?");
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    Ok(spans)
}

/// The spans once there is one of this name, and the parents of all are there but for the first span's.
async fn until(collector: &Receiver, name: &str, id: &str) -> Result<Vec<Span>> {
    let root = root(id)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let spans = spans(collector)?;
        let ids: BTreeSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).chain([root.as_slice()]).collect();
        let is_whole = spans.iter().all(|span| span.span_id == root || ids.contains(span.parent_span_id.as_slice()));
        if is_whole && spans.iter().any(|span| span.name == name) {
            return Ok(spans);
        }
        if Instant::now() > deadline {
            bail!("no {name}, or not all: {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The id of a promotion's first span.
fn root(id: &str) -> Result<Vec<u8>> {
    let id: Uuid = id.parse()?;
    Ok(id.as_bytes()[8..].to_vec())
}

/// That all spans are of one promotion's trace, and hang together below its first span.
fn check(spans: &[Span], id: &str) -> Result<()> {
    let (trace, root) = (id.parse::<Uuid>()?, root(id)?);
    let ids: BTreeSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).collect();
    assert_eq!(ids.len(), spans.len(), "a span came twice");
    for span in spans {
        assert_eq!(span.trace_id, trace.as_bytes(), "{} is in another trace", span.name);
        if span.name == "promotion" {
            assert_eq!((&span.span_id, span.parent_span_id.len()), (&root, 0));
        } else {
            assert!(ids.contains(span.parent_span_id.as_slice()), "{} hangs in the air", span.name);
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_promotion_by_pull_request_is_one_trace_that_its_commit_names() -> Result<()> {
    let mut world = World::without_controller().await?;
    let collector = Receiver::start(&world.bed.ca).await?;
    world.start(&["--otlp-endpoint", collector.url().as_str()]).await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    let open = world.promotion("6.1.0", Phase::Open).await?;

    let id: Uuid = open.id.parse()?;
    let traceparent = format!("Traceparent: 00-{}-{:016x}-01\n", id.simple(), id.as_u64_pair().1);
    let trailers = format!("{traceparent}Promotion-Id: {id}");
    let pull = hosts.github.pull("acme/fleet", 1).await?;
    let body = pull.body.unwrap_or_default();
    assert!(body.contains(&trailers), "{body}");
    let message = hosts.repo.git(&["log", "-1", "--format=%B", &pull.head]).await?;
    assert!(message.contains(&trailers), "{message}");

    hosts.github.merge("acme/fleet", 1).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    let spans = until(&collector, "promotion", &open.id).await?;
    check(&spans, &open.id)?;

    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    let parents = |name: &str| -> BTreeSet<&str> {
        let of_it = spans.iter().filter(|span| span.name == name);
        of_it.filter_map(|span| Some(by_id.get(span.parent_span_id.as_slice())?.name.as_str())).collect()
    };
    assert_eq!(parents("reconcile"), ["promotion"].into());
    assert_eq!(parents("promote"), ["reconcile"].into());
    assert_eq!(parents("git"), ["promote"].into());
    assert!(parents("http").is_superset(&["git", "promote"].into()), "{:?}", parents("http"));
    assert_eq!(parents("record"), ["reconcile"].into());
    let events: BTreeSet<&str> = spans.iter().flat_map(|span| &span.events).map(|event| event.name.as_str()).collect();
    assert!(events.iter().any(|event| event.contains("promotes 6.1.0")), "{events:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_trace_goes_on_after_a_restart_and_is_handed_to_the_receiver() -> Result<()> {
    let mut world = World::without_controller().await?;
    let collector = Receiver::start(&world.bed.ca).await?;
    let url = collector.url();
    let flags = ["--otlp-endpoint", url.as_str()];
    world.start(&flags).await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.1.0").await?;
    let delivered = world.promotion("6.1.0", Phase::Delivered).await?;
    let received = receiver.wait_for(1, PATIENCE).await?;
    let id: Uuid = delivered.id.parse()?;
    let traceparent = format!("00-{}-{:016x}-01", id.simple(), id.as_u64_pair().1);
    assert_eq!(received[0].header("traceparent"), Some(traceparent.as_str()));

    let before = until(&collector, "promote", &delivered.id).await?;
    world.kill().await?;
    world.start(&flags).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    // What waits to be sent is sent when the controller stops.
    world.signal("TERM")?;
    assert_eq!(world.ended().await?, 0);
    let spans = spans(&collector)?;
    assert!(spans.len() > before.len());
    check(&spans, &delivered.id)?;
    assert_eq!(spans.iter().filter(|span| span.name == "promotion").count(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_collector_that_is_away_holds_nothing_and_is_told_once() -> Result<()> {
    let mut world = World::without_controller().await?;
    let nobody = format!("http://127.0.0.1:{}", testbed::ports::free()?);
    world.start(&["--otlp-endpoint", &nobody]).await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    for version in ["6.1.0", "6.2.0"] {
        world.dev_is_at(version).await?;
        world.promotion(version, Phase::Delivered).await?;
        world.prod_is_at(version).await?;
        world.promotion(version, Phase::Succeeded).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    let told = || world.log().matches("--otlp-endpoint does not take traces").count();
    while told() == 0 {
        assert!(Instant::now() < deadline, "{}", world.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Longer than the pause between two batches.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(told(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn without_a_collector_nothing_is_traced() -> Result<()> {
    let world = World::new().await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    assert_eq!(receiver.wait_for(1, PATIENCE).await?[0].header("traceparent"), None);
    Ok(())
}
