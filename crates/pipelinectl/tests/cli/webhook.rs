//! `pipelinectl promote` by webhook.

use std::time::Duration;

use anyhow::Result;
use http::StatusCode;
use serde_json::{Value, json};
use testbed::{Ca, Fault, Receiver};

use crate::run::{Ran, run};
use crate::world::{Files, pipeline, secret};

const TOKEN: &str = "hunter2hunter2hunter2";

async fn promote(files: &Files, receiver: &Receiver, secret_values: &Value, more: &[&str]) -> Ran {
    let promotion = json!({"webhook": {"url": receiver.url(), "secretRef": "fleet"}});
    let flags = files.flags(&pipeline(&promotion), &secret(secret_values));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let ran = run(&[&["promote", "--revision", "6.3.0"], flags.as_slice(), more].concat()).await;
    assert!(!ran.all().contains("hunter2"), "{ran:?}");
    ran
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_signed_event_is_delivered_in_one_attempt() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ca = Ca::generate(folder.path())?;
    let files = Files::new(&ca);
    let receiver = Receiver::start(&ca).await?;
    receiver.require_signature(TOKEN);
    let values = json!({"token": TOKEN, "headers": "Authorization: Bearer hunter2\n"});

    let ran = promote(&files, &receiver, &values, &["-o", "json"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let data: Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!((&data["strategy"], &data["state"]), (&json!("Webhook"), &json!("Delivered")));
    let received = receiver.wait_for(1, Duration::from_secs(10)).await?;
    received[0].verify(TOKEN)?;
    assert_eq!(received[0].header("authorization"), Some("Bearer hunter2"));
    assert_eq!(received[0].header("webhook-id"), data["promotionId"].as_str());
    let event: Value = serde_json::from_slice(&received[0].body)?;
    assert_eq!(event["metadata"]["sourceEnvironment"], "dev");
    assert_eq!(event["metadata"]["version"], "6.3.0");
    assert_eq!(event["metadata"]["promotionId"], data["promotionId"]);

    let ran = promote(&files, &receiver, &json!({"token": "another hunter2"}), &[]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("refuses the promotion: 401"), "{ran:?}");

    receiver.always(Fault::status(StatusCode::SERVICE_UNAVAILABLE));
    let ran = promote(&files, &receiver, &values, &[]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("503") && ran.stderr.contains("may succeed later"), "{ran:?}");
    assert_eq!(receiver.received().len(), 3);
    Ok(())
}
