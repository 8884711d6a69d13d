//! The world as one pipeline sees it: values, without the means to look.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pipeline_api::conditions::Reason;
use pipeline_api::{ClusterRef, PromoteWhen};

/// What is known of the world outside the Pipeline object.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub environments: BTreeMap<String, ObservedEnvironment>,
    /// By environment with a failed promotion: the `resourceVersion` of the Secret that its strategy names.
    pub secret_versions: BTreeMap<String, String>,
    /// By environment: when this process last looked at its open pull request.
    pub looked_at: BTreeMap<String, Timestamp>,
    /// Fields of repositories that other environments or Pipelines promote to as well, for people.
    pub conflicts: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct ObservedEnvironment {
    pub targets: Vec<ObservedTarget>,
}

#[derive(Clone, Debug)]
pub struct ObservedTarget {
    pub namespace: String,
    pub cluster_ref: Option<ClusterRef>,
    pub application: Result<Application, Unreadable>,
}

/// Why a target's application could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub reason: Reason,
    pub message: String,
}

impl Observed {
    pub fn environment(&self, name: &str) -> Option<&ObservedEnvironment> {
        self.environments.get(name)
    }

    /// The targets that could not be read, each with its environment.
    pub fn unreadable(&self) -> impl Iterator<Item = (&str, &ObservedTarget, &Unreadable)> {
        self.environments.iter().flat_map(|(name, environment)| {
            let failures =
                environment.targets.iter().filter_map(|target| Some((target, target.application.as_ref().err()?)));
            failures.map(move |(target, unreadable)| (name.as_str(), target, unreadable))
        })
    }
}

impl ObservedEnvironment {
    /// The revision that the first target with one reports.
    pub fn revision(&self) -> Option<String> {
        self.revisions().next().map(str::to_owned)
    }

    /// The revisions that the targets report.
    pub fn revisions(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().filter_map(|target| target.application.as_ref().ok()?.revision.as_deref())
    }
}

/// What one application object reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Live and healthy at [`Application::revision`].
    pub ready: bool,
    /// The revision that was applied last, as the application's controller writes it.
    pub revision: Option<String>,
    /// Why the application is not ready; empty when it is.
    pub message: String,
}

/// What the targets of an environment report of one revision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reports {
    pub targets: usize,
    pub at_revision: usize,
    pub ready: usize,
}

impl Reports {
    pub fn of(environment: Option<&ObservedEnvironment>, revision: &str) -> Self {
        let targets = environment.map(|environment| environment.targets.as_slice()).unwrap_or_default();
        let mut reports = Self { targets: targets.len(), ..Self::default() };
        for application in targets.iter().filter_map(|target| target.application.as_ref().ok()) {
            if application.revision.as_deref() == Some(revision) {
                reports.at_revision += 1;
                reports.ready += usize::from(application.ready);
            }
        }
        reports
    }

    pub fn live(&self, rule: PromoteWhen) -> bool {
        match rule {
            PromoteWhen::AllTargetsReady => self.targets > 0 && self.ready == self.targets,
            PromoteWhen::AnyTargetReady => self.ready > 0,
        }
    }
}
