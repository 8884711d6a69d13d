//! Tells a receiver to promote, with a signed event, without Kubernetes: `promote-webhook` alone.
//!
//! ```sh
//! TOKEN=… cargo run -p pipeline-examples --bin deliver_webhook -- \
//!     https://ci.example.com/hooks/promotion default podinfo prod 6.3.0
//! ```

#![expect(clippy::print_stdout, reason = "what a program prints is its result")]

use std::path::PathBuf;

use clap::Parser;
use egress::{Egress, Guard, Identity, IpNet, Policy, Retry};
use jiff::Timestamp;
use promote_webhook::{Delivery, Event, Format, Keys, Pipeline, TIMEOUT, deliver, schedule};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

/// Delivers a promotion event, in as many attempts as it takes
#[derive(Parser)]
struct Args {
    url: Url,
    namespace: String,
    pipeline: String,
    environment: String,
    version: String,
    /// The key that signs the event
    #[arg(long, env, hide_env_values = true)]
    token: Option<SecretString>,
    /// PEM bundle of certificate authorities to trust in addition to the system's
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Addresses to call although they are refused by themselves, such as 127.0.0.0/8
    #[arg(long)]
    egress_allow: Vec<IpNet>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let guard = Guard { allow: args.egress_allow, ..Guard::default() };
    let extra_ca = args.ca_file.map(std::fs::read).transpose()?;
    let egress = Egress::new(Policy { guard, extra_ca, ..Policy::default() })?;
    let client = egress.client(&Identity::default())?;
    let name = [&args.namespace, &args.pipeline, &args.environment, &args.version].map(String::as_str);
    // The same promotion has the same id whenever it is delivered, so that the receiver knows it again.
    let promotion_id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.join("/").as_bytes());
    let delivery = Delivery {
        url: args.url,
        format: Format::Generic,
        keys: args.token.map(|current| Keys { current, previous: None }),
        headers: Vec::new(),
        timeout: TIMEOUT,
        event: Event {
            pipeline: Pipeline {
                api_version: "pipelines.weave.works/v1alpha1".to_owned(),
                namespace: args.namespace,
                name: args.pipeline,
                uid: None,
            },
            promotion_id,
            environment: args.environment,
            source_environment: None,
            version: args.version,
            previous_version: None,
            app_kind: "HelmRelease".to_owned(),
            app_name: "podinfo".to_owned(),
            timestamp: now(),
        },
    };
    for attempt in 1.. {
        let failure = match deliver(&client, &delivery, now()).await {
            Ok(delivered) => {
                println!("delivered in attempt {attempt}: {}", delivered.status);
                break;
            }
            Err(failure) => failure,
        };
        let retry_after = match failure.retry() {
            Retry::Never => return Err(failure.into()),
            Retry::Later => None,
            Retry::After(wait) => Some(wait),
        };
        let Some(pause) = schedule::delay(attempt, 0.0, retry_after) else {
            return Err(failure.into());
        };
        println!("attempt {attempt}: {failure}; the next one in {pause:?}");
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program may ask what time it is")]
fn now() -> Timestamp {
    Timestamp::now()
}
