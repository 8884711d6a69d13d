//! Scenarios in words: given a pipeline, when something happens, then the world looks so.
//!
//! ```text
//! given dev prod at 6.0.0 by github
//! when  dev is at 6.1.0
//! then  prod promotes 6.1.0 Open
//! then  pulls prod/6.1.0 open
//! ```
//!
//! `given` names the environments in order (`prod*2`: two targets), the version that runs in all of them, and the means: `github`,
//! `gitea`, `webhook` or `hand`; `with {…}` adds to the spec. What `when` and `then` understand stands in [`happens`](Stage::happens)
//! and [`looks`](Stage::looks), a line each. A `then` is waited for; `then it stays so` looks at all since the last `when` again,
//! after a while. Each scenario runs on servers that are real or, as the GitHub, keep their state on a real repository.

mod happens;
mod looks;
mod stage;

use anyhow::{Context as _, Result};

use self::stage::Stage;

/// Tests whose bodies are scenarios.
macro_rules! scenarios {
    ($($(#[$about:meta])* fn $name:ident() { $text:literal })+) => {$(
        $(#[$about])*
        #[tokio::test]
        #[ignore = "needs the test bed: run `cargo xtask test`"]
        async fn $name() -> anyhow::Result<()> {
            crate::scenario::play($text).await
        }
    )+};
}

pub(crate) use scenarios;

/// Plays a scenario.
pub(crate) async fn play(text: &str) -> Result<()> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let (first, rest) = lines.split_first().context("an empty scenario")?;
    let given = first.strip_prefix("given ").context("a scenario begins with given")?;
    let mut stage = Stage::set(given).await.with_context(|| (*first).to_owned())?;
    let mut claims: Vec<&str> = Vec::new();
    for line in rest {
        let (word, step) = line.split_once(' ').with_context(|| format!("half a step: {line}"))?;
        let step = step.trim();
        match word {
            "when" => {
                claims.clear();
                stage.happens(step).await.with_context(|| (*line).to_owned())?;
            }
            "then" if step == "it stays so" => stage.stays(&claims).await.with_context(|| (*line).to_owned())?,
            "then" => {
                claims.push(step);
                stage.until(step).await.with_context(|| (*line).to_owned())?;
            }
            _ => anyhow::bail!("a step begins with when or then: {line}"),
        }
    }
    Ok(())
}
