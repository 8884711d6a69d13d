//! How the world can look in a scenario.

use anyhow::{Result, bail};
use pipeline_api::conditions::ConditionType;
use pipeline_api::conditions::condition;
use pipeline_api::{EnvironmentStatus, PipelineStatus, PromotionStatus};
use promote_pr::Key;
use testbed::github::PullState;

use super::stage::{Means, Stage};

/// A pull request as scenarios speak of it.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    pub(super) number: u64,
    /// Environment and revision, `prod/6.1.0`.
    pub(super) name: String,
    /// open, closed or merged.
    pub(super) state: &'static str,
}

/// Nothing, or how it looks instead.
type Looks = Result<(), String>;

fn same(found: &str, expected: &str) -> Looks {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}, expected {expected:?}")) }
}

fn holds(text: &str, words: &str) -> Looks {
    if text.contains(words) { Ok(()) } else { Err(format!("{text:?} does not hold {words:?}")) }
}

impl Stage {
    /// Whether the world looks so. One line of this `match` is one sentence of the language.
    pub(super) async fn looks(&self, claim: &str) -> Result<Looks> {
        let words: Vec<&str> = claim.split_whitespace().collect();
        let known = self.status().await?;
        let is_gone = known.is_none();
        let status = known.unwrap_or_default();
        let of = |name: &str| status.environments.get(name).cloned().unwrap_or_default();
        Ok(match words.as_slice() {
            ["kubectl", "waits", "for", "Ready"] => {
                let waited = self.kubectl(&["wait", "--for=condition=Ready", "pipeline/podinfo", "--timeout=5s"]).await;
                waited.map(drop).map_err(|error| format!("{error:#}"))
            }
            ["the", "pipeline", "is", "gone"] => {
                if is_gone {
                    Ok(())
                } else {
                    Err("it is still there".to_owned())
                }
            }
            [environment, "promotes", revision, phase] => {
                same(&promotion(&of(environment)), &format!("{revision} {phase}"))
            }
            [environment, "has", "no", "promotion"] => same(&promotion(&of(environment)), ""),
            [environment, "remembers", records @ ..] => same(&history(&of(environment)), &records.join(" ")),
            [environment, "waits", "for", revision] => same(&waiting(&of(environment)), revision),
            ["nothing", "waits"] => same(&status.environments.values().map(waiting).collect::<String>(), ""),
            [environment, "was", "approved", "by", who] => same(&approver(&of(environment)), who),
            [environment, "expects", "nothing"] => same(&expected(&of(environment)), ""),
            [environment, "expects", revision] => same(&expected(&of(environment)), revision),
            [environment, "message", "holds", words @ ..] => holds(&message(&of(environment)), &words.join(" ")),
            [environment, "has", "target", index, "at", revision] => {
                let target = of(environment).targets.get(index.parse::<usize>()?).cloned();
                same(
                    &target
                        .map(|target| format!("{} {}", target.revision.unwrap_or_default(), target.ready))
                        .unwrap_or_default(),
                    &format!("{revision} true"),
                )
            }
            [type_, "is", state, reason] => same(&told(&status, type_), &format!("{state} {reason}")),
            [type_, "says", words @ ..] => holds(&says(&status, type_), &words.join(" ")),
            ["no", type_] => same(&told(&status, type_), ""),
            ["pulls", "none"] => same(&self.pull_list().await?, ""),
            ["pulls", ..] => same(&self.pull_list().await?, claim.trim_start_matches("pulls ")),
            ["branches", count] => same(&self.branches().await?.to_string(), count),
            ["event", reason] => holds(&self.world.events().await?.join(" "), reason),
            ["event", reason, "once"] => {
                let events = self.world.events().await?;
                same(&events.iter().filter(|event| event == reason).count().to_string(), "1")
            }
            ["no", "event", reason] => {
                let events = self.world.events().await?;
                same(&events.iter().filter(|event| event == reason).count().to_string(), "0")
            }
            ["received", count] => same(&self.received()?.to_string(), count),
            ["it", "is", "listed", "with", words @ ..] => {
                holds(&self.kubectl(&["get", "pipelines", "-o", "wide"]).await?, &words.join(" "))
            }
            ["the", "finalizer", "is", state @ ("there" | "gone")] => {
                let found =
                    self.kubectl(&["get", "pipeline", "podinfo", "-o", "jsonpath={.metadata.finalizers}"]).await?;
                let there = found.contains("pipelines.weave.works/open-pull-requests");
                same(if there { "there" } else { "gone" }, state)
            }
            ["the", "rival", "is", "told"] => {
                let rival = self.kubectl(&["get", "pipeline", "rival", "-o", "jsonpath={.status.conditions}"]).await?;
                holds(&rival, "Conflicting")
            }
            _ => bail!("nobody knows how this looks: {claim}"),
        })
    }

    async fn pull_list(&self) -> Result<String> {
        let pulls = self.pulls().await?;
        let list: Vec<String> = pulls.iter().map(|pull| format!("{} {}", pull.name, pull.state)).collect();
        Ok(list.join(", "))
    }

    /// The pull requests in the order of their numbers.
    pub(super) async fn pulls(&self) -> Result<Vec<Pull>> {
        let mut pulls: Vec<Pull> = match &self.means {
            Means::GitHub(hosts) => {
                let state = |state| match state {
                    PullState::Open => "open",
                    PullState::Closed => "closed",
                    PullState::Merged => "merged",
                };
                let pulls = hosts.github.pulls("acme/fleet").await?;
                pulls
                    .iter()
                    .map(|pull| self.named(pull.number, pull.body.as_deref().unwrap_or_default(), state(pull.state)))
                    .collect()
            }
            Means::Gitea(repo) => {
                let pulls = self.world.bed.gitea.pulls(repo).await?;
                let state = |pull: &testbed::gitea::Pull| match (pull.merged, pull.state.as_str()) {
                    (true, _) => "merged",
                    (false, "open") => "open",
                    _ => "closed",
                };
                pulls.iter().map(|pull| self.named(pull.number, &pull.body, state(pull))).collect()
            }
            Means::Webhook(_) | Means::Hand => Vec::new(),
        };
        pulls.sort_by_key(|pull| pull.number);
        Ok(pulls)
    }

    /// Whose pull request it is tells the promotion's id in its body.
    fn named(&self, number: u64, body: &str, state: &'static str) -> Pull {
        let keys = self.targets.keys().flat_map(|environment| {
            self.revisions.iter().flat_map(move |revision| {
                (1..4).map(move |sequence| Key {
                    namespace: self.world.namespace.clone(),
                    pipeline: "podinfo".to_owned(),
                    environment: environment.clone(),
                    revision: revision.clone(),
                    sequence,
                })
            })
        });
        let mut keys = keys.filter(|key| body.contains(&key.id().to_string()));
        let name =
            keys.next().map_or_else(|| "unknown".to_owned(), |key| format!("{}/{}", key.environment, key.revision));
        Pull { number, name, state }
    }

    async fn branches(&self) -> Result<usize> {
        Ok(match &self.means {
            Means::GitHub(hosts) => hosts.repo.branches().await?.len(),
            Means::Gitea(repo) => self.world.bed.gitea.branches(repo).await?.len(),
            Means::Webhook(_) | Means::Hand => 0,
        })
    }

    fn received(&self) -> Result<usize> {
        let Means::Webhook(receiver) = &self.means else { bail!("there is no receiver") };
        Ok(receiver.received().len())
    }
}

/// `6.1.0 Open`, or `6.1.0#2 Open` of a later sequence.
fn record(record: &PromotionStatus) -> String {
    match record.sequence {
        1 => format!("{} {:?}", record.revision, record.phase),
        sequence => format!("{}#{sequence} {:?}", record.revision, record.phase),
    }
}

fn promotion(environment: &EnvironmentStatus) -> String {
    environment.promotion.as_ref().map(record).unwrap_or_default()
}

fn history(environment: &EnvironmentStatus) -> String {
    environment.history.iter().map(record).collect::<Vec<_>>().join(" ")
}

fn waiting(environment: &EnvironmentStatus) -> String {
    environment.waiting_approval.as_ref().map(|waiting| waiting.revision.clone()).unwrap_or_default()
}

fn approver(environment: &EnvironmentStatus) -> String {
    let promotion = environment.promotion.as_ref().filter(|promotion| promotion.approved_time.is_some());
    promotion.and_then(|promotion| promotion.approved_by.clone()).unwrap_or_default()
}

fn expected(environment: &EnvironmentStatus) -> String {
    environment.arriving.as_ref().map(|arriving| arriving.revision.clone()).unwrap_or_default()
}

fn message(environment: &EnvironmentStatus) -> String {
    environment.promotion.as_ref().and_then(|promotion| promotion.message.clone()).unwrap_or_default()
}

fn type_of(name: &str) -> ConditionType {
    let found = ConditionType::ALL.iter().find(|type_| type_.as_str() == name);
    *found.unwrap_or_else(|| panic!("no condition {name}"))
}

fn told(status: &PipelineStatus, type_: &str) -> String {
    crate::world::told(status, type_of(type_))
}

fn says(status: &PipelineStatus, type_: &str) -> String {
    condition(&status.conditions, type_of(type_)).map(|condition| condition.message.clone()).unwrap_or_default()
}
