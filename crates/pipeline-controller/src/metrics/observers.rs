//! What the libraries tell.

use egress::Call;
use promote_pr::host::Provider;
use promote_pr::{GitOperation, Turn};

use super::{Metrics, names};

impl egress::Observer for Metrics {
    fn called(&self, call: &Call<'_>) {
        let host = self.hosts.label(call.peer);
        self.host_requests.add([host.clone(), call.outcome.as_str().into()], 1);
        self.host_time.with([host], |histogram| histogram.observe(call.elapsed.as_secs_f64()));
    }
}

impl promote_pr::Observer for Metrics {
    fn git(&self, operation: &GitOperation<'_>) {
        let [http, ssh] = names::TRANSPORTS;
        let transport = if operation.ssh { ssh } else { http };
        let [done, failed] = names::GIT_RESULTS;
        let action = operation.action.as_str();
        self.git_operations.add([transport, action, if operation.done { done } else { failed }], 1);
        let took = operation.elapsed.as_secs_f64();
        self.git_time.with([transport, action], |histogram| histogram.observe(took));
        let [sent, received] = names::DIRECTIONS;
        self.git_bytes.add([transport, sent], operation.sent);
        self.git_bytes.add([transport, received], operation.received);
        if let Some(cache) = operation.cache {
            self.git_cache.add([cache.as_str()], 1);
        }
    }

    fn turn(&self, turn: &Turn<'_>) {
        let host = self.hosts.label(turn.host);
        self.waits.with([host.clone()], |seconds| seconds.inc_by(turn.waited.as_secs_f64()));
        self.deferrals.add([host], u64::from(!turn.granted));
    }

    fn provider(&self, host: &str, provider: Provider) {
        self.providers.note(host, provider);
    }
}
