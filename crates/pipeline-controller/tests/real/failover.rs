//! Three replicas on a real git host, the leading one of which is killed, stands still or is cut off from the API server in the
//! middle of a revision's way through three environments: never do two act, and the end is that of a cascade that nobody disturbs.
//!
//! `cargo xtask soak failover` does it fifty times.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::cascade::{Cascade, Moments, variable};
use crate::replicas::{Replica, SHORT, Terms, leader, take_leader};
use crate::world::PATIENCE;

/// What Kubernetes' own components have, and the controller by default.
const USUAL: Terms = Terms(["15s", "10s", "2s"]);

#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    Stopped,
    CutOff,
}

struct Run {
    cascade: Cascade,
    terms: Terms,
    replicas: Vec<Replica>,
    started: usize,
    /// When each leader called others first and last, in their order.
    acted: Vec<(String, String)>,
    gaps: Vec<Duration>,
}

impl Run {
    async fn replica(&mut self) -> Result<()> {
        self.started += 1;
        let name = format!("replica-{}", self.started);
        self.replicas.push(Replica::start(&self.cascade.world, &name, self.terms, &[]).await?);
        Ok(())
    }

    /// Disturbs whoever leads, and goes on when another one does.
    async fn replace(&mut self, how: End) -> Result<()> {
        let mut gone = take_leader(&mut self.replicas).await?;
        match how {
            End::Killed => gone.process.signal("KILL")?,
            End::Stopped => gone.process.signal("STOP")?,
            End::CutOff => gone.way.hang(true),
        }
        let since = Instant::now();
        leader(&self.replicas).await?;
        self.gaps.push(since.elapsed());
        // For a while, both are there.
        let both = Instant::now() + Duration::from_secs(1);
        if matches!(how, End::Stopped) {
            gone.process.signal("CONT")?;
        }
        while Instant::now() < both {
            self.cascade.meanwhile().await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ensure!(gone.process.wait(PATIENCE).await? != 0, "a leader that is {how:?} ends by itself");
        self.acted.extend(gone.calls()?);
        self.replica().await
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn whatever_becomes_of_the_leader_each_promotion_is_made_once() -> Result<()> {
    let rounds: usize = variable("SOAK_ROUNDS", 3);
    let seed = variable("SOAK_SEED", RandomState::new().hash_one(std::process::id()));
    let terms = if variable("SOAK_USUAL_TERMS", false) { USUAL } else { SHORT };
    let mut moments = Moments(seed);
    let cascade = Cascade::set().await?;
    let mut run = Run { cascade, terms, replicas: Vec::new(), started: 0, acted: Vec::new(), gaps: Vec::new() };
    for _ in 0..3 {
        run.replica().await?;
    }
    leader(&run.replicas).await?;
    run.cascade.world.dev_is_at("6.1.0").await?;
    let undisturbed = format!("{:#?}", run.cascade.arrives("6.1.0").await?);
    assert_eq!(undisturbed.matches("merged: true").count(), 2, "{undisturbed}");

    for round in 0..rounds {
        let version = format!("6.{}.0", round + 2);
        run.cascade.world.dev_is_at(&version).await?;
        let moment = Instant::now() + moments.next();
        while Instant::now() < moment {
            run.cascade.meanwhile().await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let how = [End::Killed, End::Stopped, End::CutOff][round % 3];
        run.replace(how).await.with_context(|| format!("SOAK_SEED={seed}, round {round}, {how:?}"))?;
        let outcome = format!("{:#?}", run.cascade.arrives(&version).await?);
        assert_eq!(outcome.replace(&version, "6.1.0"), undisturbed, "SOAK_SEED={seed}, round {round}, {how:?}");
        println!("{version} arrived; {how:?}: {:.1?} without a leader", run.gaps[round]);
    }

    let last = take_leader(&mut run.replicas).await?;
    run.acted.extend(last.calls()?);
    for (former, next) in run.acted.iter().zip(run.acted.iter().skip(1)) {
        assert!(former.1 < next.0, "two acted at once: one from {former:?}, the other from {next:?}; SOAK_SEED={seed}");
    }
    assert!(run.acted.len() > rounds / 2, "too few did anything: {:?}", run.acted);
    run.gaps.sort();
    let [median, worst] = [run.gaps.len() / 2, run.gaps.len() - 1].map(|index| run.gaps[index]);
    println!("{rounds} rounds: without a leader for {median:.1?} (median), {worst:.1?} (worst); {terms:?}");
    Ok(())
}
