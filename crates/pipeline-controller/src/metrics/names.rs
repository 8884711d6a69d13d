//! Values of labels.

use axum::http::{Method, StatusCode};

/// The controller, as controller-runtime would name it.
pub(crate) const CONTROLLER: &str = "pipeline";
pub(crate) const NONE: &str = "none";
pub(super) const OTHER: &str = "other";

pub(super) const RESULTS: [&str; 4] = ["success", "requeue", "requeue_after", "error"];
pub(super) const STATUSES: [&str; 3] = ["True", "False", "Unknown"];
pub(super) const OUTCOMES: [&str; 4] = ["done", "retried", "failed", "turn"];
pub(super) const APPROVALS: [&str; 2] = [NONE, "given"];
pub(super) const APIS: [&str; 2] = ["rest", "graphql"];
pub(super) const TRANSPORTS: [&str; 2] = ["http", "ssh"];
pub(super) const GIT_RESULTS: [&str; 2] = ["done", "failed"];
pub(super) const DIRECTIONS: [&str; 2] = ["sent", "received"];
pub(super) const CLUSTERS: [&str; 2] = ["local", "remote"];
pub(super) const WATCHES: [&str; 4] = ["starting", "watched", "polled", "failing"];
pub(super) const CONNECTIONS: [&str; 3] = ["pending", "connected", "down"];
pub(super) const NOTIFICATIONS: [&str; 3] = ["sent", "failed", "dropped"];
pub(super) const ENDPOINTS: [&str; 5] = ["promotion", "approval", "hooks", "promotion-status", OTHER];
/// All answers of the endpoints, and what stands for any other.
pub(super) const CODES: [&str; 14] =
    ["200", "201", "202", "204", "400", "401", "404", "405", "408", "413", "422", "429", "503", OTHER];

pub(super) const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", OTHER];
/// client-go's word for a request without an answer.
pub(super) const NO_ANSWER: &str = "<error>";
pub(super) const API_CODES: [&str; 20] = [
    "200", "201", "202", "204", "400", "401", "403", "404", "405", "409", "410", "413", "415", "422", "429", "500",
    "503", "504", OTHER, NO_ANSWER,
];

/// The kind of an endpoint, by the path of a request.
pub(crate) fn endpoint(path: &str) -> &'static str {
    match path.split('/').nth(1).unwrap_or_default() {
        "promotion" | "pipelines" => "promotion",
        "approval" => "approval",
        "hooks" => "hooks",
        "promotion-status" => "promotion-status",
        _ => OTHER,
    }
}

/// The label of a status that an endpoint answers.
pub(super) fn code(status: StatusCode) -> &'static str {
    CODES.into_iter().find(|code| *code == status.as_str()).unwrap_or(OTHER)
}

/// The label of a status that the API server answers.
pub(super) fn api_code(status: StatusCode) -> &'static str {
    API_CODES.into_iter().find(|code| *code == status.as_str()).unwrap_or(OTHER)
}

pub(super) fn method(method: &Method) -> &'static str {
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER)
}
