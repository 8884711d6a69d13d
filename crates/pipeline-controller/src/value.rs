//! What is written into manifests for a revision. Pure.

/// The text of `revision` as a manifest of the application's kind has it:
///
/// | kind | revision | written | for |
/// |---|---|---|---|
/// | HelmRelease | `6.3.0+1a2b3c4d5e6f` | `6.3.0` | `spec.chart.spec.version`; [build metadata] is the chart's digest |
/// | others | `main@sha1:1a2b…` | `1a2b…` | `spec.ref.commit` of a GitRepository |
/// | others | `latest@sha256:1a2b…` | `sha256:1a2b…` | `spec.ref.digest` of an OCIRepository |
/// | all | anything else | itself | |
///
/// [build metadata]: https://fluxcd.io/flux/components/helm/helmreleases/#chart-reference
pub(crate) fn written<'a>(kind: &str, revision: &'a str) -> &'a str {
    if kind == "HelmRelease" {
        return revision.split_once('+').map_or(revision, |(version, _build)| version);
    }
    match revision.rsplit_once('@') {
        Some((_, digest)) if digest.starts_with("sha1:") => digest.trim_start_matches("sha1:"),
        Some((_, digest)) if digest.starts_with("sha256:") => digest,
        _ => revision.strip_prefix("sha1:").unwrap_or(revision),
    }
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn revisions_as_manifests_have_them() {
        let check =
            |kind: &str, revision: &str, expected: &str| assert_eq!(written(kind, revision), expected, "{kind}");
        check("HelmRelease", "6.3.0", "6.3.0");
        check("HelmRelease", "6.3.0+1a2b3c4d5e6f", "6.3.0");
        check("HelmRelease", "6.3.0-rc.1+build", "6.3.0-rc.1");
        check("Kustomization", "main@sha1:1a2b", "1a2b");
        check("Kustomization", "feature/x@sha1:1a2b", "1a2b");
        check("Kustomization", "sha1:1a2b", "1a2b");
        check("Kustomization", "latest@sha256:1a2b", "sha256:1a2b");
        check("Kustomization", "sha256:1a2b", "sha256:1a2b");
        check("Kustomization", "v1.2.3", "v1.2.3");
        check("Other", "1.0.0+build", "1.0.0+build");
    }
}
