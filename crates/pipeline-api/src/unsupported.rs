use std::fmt;

use crate::{Observe, Pipeline, Promotion, Target};

/// A field that is valid and that this version of the controller does not act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Path of the field, for example `spec.environments[1].targets[0].observe`.
    pub field: String,
    /// What does not happen.
    pub reason: &'static str,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// The fields of a Pipeline that this version of the controller does not act on; empty when it acts on all.
#[must_use]
pub fn unsupported(pipeline: &Pipeline) -> Vec<Unsupported> {
    let mut fields = Vec::new();
    if let Some(promotion) = &pipeline.spec.promotion {
        in_promotion(&mut fields, "spec.promotion", promotion);
    }
    for (index, environment) in pipeline.spec.environments.iter().enumerate() {
        let field = format!("spec.environments[{index}]");
        for (index, target) in environment.targets.iter().enumerate() {
            in_target(&mut fields, &format!("{field}.targets[{index}]"), target);
        }
        if let Some(promotion) = &environment.promotion {
            in_promotion(&mut fields, &format!("{field}.promotion"), promotion);
        }
    }
    fields
}

fn in_target(fields: &mut Vec<Unsupported>, field: &str, target: &Target) {
    if target.observe == Some(Observe::Event) {
        fields.push(Unsupported { field: format!("{field}.observe"), reason: "events are not received yet" });
    }
}

fn in_promotion(fields: &mut Vec<Unsupported>, field: &str, promotion: &Promotion) {
    const HMAC: &str = "events and approvals over HTTP are not received yet";

    let mut add = |present: bool, name: &str, reason| {
        if present {
            fields.push(Unsupported { field: format!("{field}.{name}"), reason });
        }
    };

    add(promotion.hmac_secret_ref.is_some(), "hmacSecretRef", HMAC);
    if let Some(strategy) = &promotion.strategy {
        add(strategy.secret_ref.is_some(), "strategy.secretRef", HMAC);
        add(strategy.notification.is_some(), "strategy.notification", "no Event is emitted for promotions yet");
    }
}

#[cfg(test)]
mod tests;
