use std::fmt;

use crate::{Pipeline, Promotion};

/// A field that is valid and that this version of the controller does not act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Path of the field, for example `spec.environments[1].promotion.strategy.notification`.
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
        if let Some(promotion) = &environment.promotion {
            in_promotion(&mut fields, &format!("spec.environments[{index}].promotion"), promotion);
        }
    }
    fields
}

fn in_promotion(fields: &mut Vec<Unsupported>, field: &str, promotion: &Promotion) {
    let notification = promotion.strategy.as_ref().is_some_and(|strategy| strategy.notification.is_some());
    if notification {
        let reason = "no Event is emitted for promotions yet";
        fields.push(Unsupported { field: format!("{field}.strategy.notification"), reason });
    }
}

#[cfg(test)]
mod tests;
