//! One promotion, from manifests and flags.

use anyhow::{Context as _, bail};
use egress::Guard;
use jiff::Timestamp;
use kube::ResourceExt as _;
use pipeline_api::Pipeline;
use pipeline_controller::plan::Effect;
use pipeline_controller::strategies::secrets::{self, Secrets};
use pipeline_controller::strategies::{self, Strategies};
use pipeline_secrets::SecretValues;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::args::{NetworkArgs, PromotionArgs};
use crate::manifests::Manifests;

/// What is to be promoted, checked.
pub(crate) struct Promotion {
    pub(crate) pipeline: Pipeline,
    pub(crate) effect: Effect,
    files: Files,
}

struct Files {
    pipeline: Manifests,
    secret: Option<Manifests>,
}

/// What reaches out, and the folder for it, which goes when this is dropped unless it was asked for.
pub(crate) struct Network {
    pub(crate) strategies: Strategies,
    runtime: Runtime,
    _cache: Option<TempDir>,
}

impl Promotion {
    /// Reads the manifests.
    pub(crate) fn read(args: &PromotionArgs, sequence: u32) -> anyhow::Result<Self> {
        let files = Files {
            pipeline: Manifests::read(&args.file)?,
            secret: args.secret.as_deref().map(Manifests::read).transpose()?,
        };
        let pipeline = files.pipeline.pipeline(args.namespace.as_deref())?;
        let name = format!("Pipeline {}", pipeline.name_any());
        let promotion = pipeline.promotion(&args.environment).with_context(|| name.clone())?;
        let Some(promotion) = promotion else {
            bail!("{name}: spec.promotion: is missing, so nothing says how to promote to {}", args.environment);
        };
        let environments = &pipeline.spec.environments;
        let place = environments.iter().position(|environment| environment.name == args.environment);
        let source = place.and_then(|place| environments.get(place.checked_sub(1)?));
        let Some(source) = source else {
            bail!(
                "{name}: spec.environments: {} is the first environment, which nothing is promoted to",
                args.environment
            );
        };
        #[expect(clippy::disallowed_methods, reason = "a promotion is decided when the command is called")]
        let started = Timestamp::now();
        let effect = Effect {
            environment: args.environment.clone(),
            source_environment: source.name.clone(),
            revision: args.revision.clone(),
            previous_revision: None,
            previous_url: None,
            sequence,
            attempts: 0,
            started,
            strategy: promotion.strategy,
        };
        Ok(Self { pipeline, effect, files })
    }

    /// The Secret that the strategy names, from `SECRET`, else from `PIPELINE`; none if it names none, or if the one in
    /// `PIPELINE` is not there and can be done without.
    pub(crate) fn secret(&self, needed: bool) -> anyhow::Result<Option<SecretValues>> {
        let [name, ..] = secrets::names(&self.effect.strategy);
        self.find("secretRef", name, needed)
    }

    /// All Secrets that the strategy names, each of them needed.
    pub(crate) fn secrets(&self) -> anyhow::Result<Secrets> {
        let [credentials, certificates, proxy] = secrets::names(&self.effect.strategy);
        Ok(Secrets {
            credentials: self.find("secretRef", credentials, true)?,
            certificates: self.find("certSecretRef", certificates, true)?,
            proxy: self.find("proxySecretRef", proxy, true)?,
        })
    }

    fn find(&self, field: &str, name: Option<&str>, needed: bool) -> anyhow::Result<Option<SecretValues>> {
        let Some(name) = name else { return Ok(None) };
        let namespace = self.pipeline.namespace().unwrap_or_default();
        let file = self.files.secret.as_ref().unwrap_or(&self.files.pipeline);
        match file.secret(&namespace, name)? {
            Some(secret) => Ok(Some(secret)),
            None if self.files.secret.is_none() && !needed => Ok(None),
            None => bail!(
                "{field}: Pipeline {} names Secret {namespace}/{name}, but {}: give it with --secret",
                self.pipeline.name_any(),
                file.secrets()
            ),
        }
    }
}

impl Network {
    pub(crate) fn new(args: &NetworkArgs) -> anyhow::Result<Self> {
        let (cache_dir, cache) = match &args.cache_dir {
            Some(folder) => (folder.clone(), None),
            None => {
                let folder = tempfile::Builder::new().prefix("pipelinectl-").tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let allowed = strategies::Network {
            ca_file: args.ca_file.clone(),
            allow_http: args.insecure_allow_http,
            guard: Guard { allow: args.egress_allow.clone(), deny: args.egress_deny.clone(), ..Guard::default() },
            gate: None,
            observer: None,
        };
        let strategies = Strategies::open(promote_pr::Options::new(cache_dir), &allowed, None)?;
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        Ok(Self { strategies, runtime, _cache: cache })
    }

    /// Runs to the end, or until somebody interrupts.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                result = work => Ok(result),
                interrupt = tokio::signal::ctrl_c() => {
                    interrupt?;
                    bail!("interrupted; the same command goes on where this one ended")
                }
            }
        })
    }
}
