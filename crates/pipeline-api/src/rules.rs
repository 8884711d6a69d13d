//! What the API server checks, as CEL rules; next to each, the same check in Rust for objects that were stored before
//! there was a rule.

use std::time::Duration;

use kube::core::{Reason, Rule};

fn rule(cel: &str, message: String) -> Rule {
    Rule { message: Some(kube::core::Message::Message(message)), ..Rule::new(cel) }
}

/// A DNS label, [RFC 1123](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names).
pub(crate) fn label(field: &str) -> Rule {
    rule(r"self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", format!("{field} {LABEL}"))
}

pub(crate) const LABEL: &str =
    "must be a DNS label: at most 63 lower-case letters, digits and '-', with a letter or digit at both ends";

pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_object_name(text)
}

/// The name of a Kubernetes object: it becomes part of a URL's path, so nothing that steers a path may be in it.
/// [RFC 1123 subdomain](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names).
pub(crate) fn object_name(field: &str) -> Rule {
    rule(r"self.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')", format!("{field} {OBJECT_NAME}"))
}

pub(crate) const OBJECT_NAME: &str = "must be the name of an object: at most 253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends";

pub(crate) fn is_object_name(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 253
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| edge(Some(byte)) || matches!(byte, b'-' | b'.'))
}

pub(crate) fn unique_environment_names() -> Rule {
    rule(
        "self.all(one, self.exists_one(other, other.name == one.name))",
        "environments must have different names".to_owned(),
    )
}

pub(crate) fn exactly_one_strategy() -> Rule {
    rule(
        "[has(self.pullRequest), has(self.webhook), \
         has(self.strategy) && has(self.strategy.pull__dash__request), \
         has(self.strategy) && has(self.strategy.notification)].exists_one(present, present)",
        format!("promotion {ONE_STRATEGY}"),
    )
}

pub(crate) const ONE_STRATEGY: &str =
    "needs exactly one of pullRequest, webhook, strategy.pull-request and strategy.notification";

pub(crate) fn one_shape() -> Rule {
    rule(
        "!has(self.strategy) || !(has(self.pullRequest) || has(self.webhook) || has(self.hmacSecretRef))",
        format!("promotion {ONE_SHAPE}"),
    )
    .reason(Reason::FieldValueForbidden)
}

pub(crate) const ONE_SHAPE: &str =
    "mixes two shapes: use pullRequest or webhook (with hmacSecretRef), or strategy alone";

pub(crate) fn repository_scheme() -> Rule {
    rule(
        r"self.matches('^(https://|ssh://|[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:)[^/?#\\x00-\\x20\\x7f][^\\x00-\\x20\\x7f]*$')",
        "url must begin with https:// or ssh:// and a host, or be user@host:path, without blanks".to_owned(),
    )
}

/// The user of an SSH URL is part of the address (`git`), a password never is.
pub(crate) fn repository_user() -> Rule {
    rule(
        r"!self.matches('^https://[^/?#]*@') && !self.matches('^ssh://[^/?#@]*:[^/?#]*@')",
        "url must not hold credentials: put them into the Secret that secretRef names".to_owned(),
    )
    .reason(Reason::FieldValueForbidden)
}

pub(crate) fn https(field: &str) -> Rule {
    rule(r"self.matches('^https://[^ ]+$')", format!("{field} must begin with https:// and a host, without blanks"))
}

/// A template of a URL, which may hold blanks.
pub(crate) fn link(field: &str) -> Rule {
    rule("self.startsWith('https://')", format!("{field} must begin with https:// and a host"))
}

pub(crate) fn no_user(field: &str) -> Rule {
    rule(
        r"!self.matches('^https://[^/?#]*@')",
        format!("{field} must not hold credentials: put them into the Secret that secretRef names"),
    )
    .reason(Reason::FieldValueForbidden)
}

/// [git check-ref-format](https://git-scm.com/docs/git-check-ref-format).
pub(crate) fn branch(field: &str) -> Rule {
    rule(
        r"self != '@' && !self.matches('[\\x00-\\x20\\x7f~^:?*\\[\\\\]|[.][.]|@[{]|//|/[.]|[.]lock(/|$)|^[-./]|[./]$')",
        format!("{field} {BRANCH}"),
    )
}

pub(crate) const BRANCH: &str = "must be the name of a branch, without refs/heads/";

pub(crate) fn is_branch(text: &str) -> bool {
    let refused = |byte: u8| byte <= b' ' || byte == 0x7f || b"~^:?*[\\".contains(&byte);
    !matches!(text, "" | "@")
        && text.len() <= 250
        && !text.bytes().any(refused)
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

pub(crate) fn webhook_address() -> Rule {
    rule("has(self.url) || has(self.secretRef)", format!("webhook {WEBHOOK_ADDRESS}"))
        .reason(Reason::FieldValueRequired)
}

pub(crate) const WEBHOOK_ADDRESS: &str = "needs url, or secretRef with the key 'address' in that Secret";

/// A duration as Go writes it, in minutes and seconds.
pub(crate) fn timeout(field: &str) -> Rule {
    rule(
        r"self.matches('^([0-9]{1,3}m)?([0-9]{1,3}s)?$') && duration(self) >= duration('1s') && duration(self) <= duration('2m')",
        format!("{field} {TIMEOUT}"),
    )
}

pub(crate) const TIMEOUT: &str = "must be a time from 1s to 2m, such as 30s or 1m30s";

pub(crate) fn parse_timeout(text: &str) -> Option<Duration> {
    let time = Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok()?;
    let written = !text.contains("ms") && text.bytes().all(|byte| byte.is_ascii_digit() || b"ms".contains(&byte));
    (written && time >= Duration::from_secs(1) && time <= Duration::from_secs(120)).then_some(time)
}

pub(crate) fn one_field() -> Rule {
    rule(
        "[has(self.path), has(self.kustomizeImage), has(self.helmValues)].exists_one(present, present)",
        format!("an update {ONE_FIELD}"),
    )
}

pub(crate) const ONE_FIELD: &str = "needs exactly one of path, kustomizeImage and helmValues";

pub(crate) fn document_of_path() -> Rule {
    rule("!has(self.document) || has(self.path)", DOCUMENT_OF_PATH.to_owned()).reason(Reason::FieldValueForbidden)
}

pub(crate) const DOCUMENT_OF_PATH: &str = "document goes with path only";

/// A path or glob from the root of a repository.
pub(crate) fn file(field: &str) -> Rule {
    rule(r"!self.matches('^/|/$|//|(^|/)[.][.]?(/|$)')", format!("{field} {FILE}"))
}

pub(crate) const FILE: &str =
    "must be a path or glob from the root of the repository, without '/' at its start and end and without '.' and '..'";

pub(crate) fn is_file(text: &str) -> bool {
    text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The part of kubectl's JSONPath that [`crate::FieldPath`] reads.
pub(crate) fn field_path(field: &str) -> Rule {
    rule(
        r#"self.matches('^([.]([A-Za-z0-9_/-]|\\\\[.])+|\\[[0-9]{1,4}\\]|\\[[?][(]@([.][A-Za-z0-9_-]+)+=="[^"]*"[)]\\])+$')"#,
        format!("{field} {FIELD_PATH}"),
    )
}

pub(crate) const FIELD_PATH: &str = r#"must be the path of a field in JSONPath, such as .status.version, .status.versions[0] or .status.conditions[?(@.type=="Available")].status"#;

/// The name becomes part of a field path.
pub(crate) fn image_name(field: &str) -> Rule {
    rule(r"!self.matches('[\\[\\]\\s]')", format!("{field} {IMAGE_NAME}"))
}

pub(crate) const IMAGE_NAME: &str = "must be the name of an image, without blanks and brackets";

pub(crate) fn is_image_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| matches!(c, '[' | ']') || c.is_whitespace())
}

/// A duration in the words of Go, without fractions and signs.
pub(crate) fn duration(field: &str) -> Rule {
    rule(
        "self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && self.matches('[1-9]')",
        format!("{field} {DURATION}"),
    )
}

pub(crate) const DURATION: &str = "must be a positive duration such as 90s, 45m or 1h30m";

pub(crate) fn duration_of(text: &str) -> Option<Duration> {
    let span: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(span).ok().filter(|duration| !duration.is_zero())
}

/// Names of labels and people, which become parts of requests to a host.
pub(crate) fn names(field: &str) -> Rule {
    rule(
        r"self.all(one, one.matches('^[^\\x00-\\x20\\x7f]([^\\x00-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?$'))",
        format!("{field} {NAMES}"),
    )
}

pub(crate) const NAMES: &str = "must be names without blanks at their ends, on one line";

pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.trim_matches(' ') == text && !text.bytes().any(|byte| byte < b' ' || byte == 0x7f)
}

pub(crate) fn drafts_stay() -> Rule {
    rule("!has(self.draft) || !self.draft || !has(self.merge) || self.merge == 'None'", DRAFTS_STAY.to_owned())
        .reason(Reason::FieldValueForbidden)
}

pub(crate) const DRAFTS_STAY: &str = "a draft is not merged: take draft away, or set merge to None";

pub(crate) fn merge_of_pull_request() -> Rule {
    let by_pull_request = |promotion: &str| {
        format!(
            "has({promotion}.pullRequest) || has({promotion}.strategy) && has({promotion}.strategy.pull__dash__request)"
        )
    };
    let cel = format!(
        "self.environments.all(one, !has(one.merge) || (has(one.promotion) ? {} : has(self.promotion) && ({})))",
        by_pull_request("one.promotion"),
        by_pull_request("self.promotion"),
    );
    rule(&cel, format!("merge {MERGE_OF_PULL_REQUEST}")).reason(Reason::FieldValueForbidden)
}

pub(crate) const MERGE_OF_PULL_REQUEST: &str = "goes with a promotion by pull request only";
