//! What the receiver of a webhook says of the promotions that it was told of.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pipeline_api::normalized::Strategy;
use pipeline_api::{ReportState, ReportStatus};

use super::world::World;

impl World {
    /// The receiver speaks of the promotion on record, provided that its event arrived and that it is promoted to by webhook still.
    pub(super) fn reports(&mut self, name: &str, state: u8) {
        let promotion = self.pipeline.promotion(name).ok().flatten();
        let by_webhook = promotion.is_some_and(|promotion| matches!(promotion.strategy, Strategy::Webhook(_)));
        let Some(record) = self.record(name).filter(|_| by_webhook) else { return };
        let arrived = self.hosts.deliveries.iter().any(|key| {
            key.environment == name
                && key.revision == record.revision
                && i32::try_from(key.sequence) == Ok(record.sequence)
        });
        let states = [ReportState::Running, ReportState::Succeeded, ReportState::Failed];
        let status = self.pipeline.status.as_mut().and_then(|status| status.environments.get_mut(name));
        if let Some(status) = status.filter(|_| arrived) {
            status.report = Some(ReportStatus {
                promotion_id: record.id,
                state: states[usize::from(state)],
                url: Some("https://ci.example.com/7".to_owned()),
                reason: None,
                time: Time(self.now),
            });
        }
    }
}
