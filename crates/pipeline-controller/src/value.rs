//! What is written into manifests for a revision. Pure.

use promote_pr::value::{Error, Template};

/// What is written by default for the applications of a kind.
pub(crate) struct Default {
    /// The kind of the application; none: all others.
    pub(crate) kind: Option<&'static str>,
    /// What is made of the revision.
    pub(crate) template: &'static str,
}

/// The first that fits. [`docs/markers.md`](../../../docs/markers.md) shows this table with examples.
pub(crate) const DEFAULTS: &[Default] = &[
    // The [build metadata](https://fluxcd.io/flux/components/helm/helmreleases/#chart-reference) is the chart's digest.
    Default { kind: Some("HelmRelease"), template: "{{ tag | default(revision) }}" },
    Default { kind: None, template: "{{ commit | default(digest) | default(revision) }}" },
];

/// The template for an application.
///
/// # Errors
/// See [`Template`].
pub(crate) fn template(kind: &str) -> Result<Template, Error> {
    let fits = |default: &&Default| default.kind.is_none_or(|own| own == kind);
    DEFAULTS.iter().find(fits).map_or("{{ revision }}", |default| default.template).parse()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn written(kind: &str, revision: &str) -> String {
        template(kind).unwrap().render(revision).unwrap()
    }

    #[test]
    fn revisions_as_manifests_have_them() {
        let check =
            |kind: &str, revision: &str, expected: &str| assert_eq!(written(kind, revision), expected, "{kind}");
        check("HelmRelease", "6.3.0", "6.3.0");
        check("HelmRelease", "6.3.0+1a2b3c4d5e6f", "6.3.0");
        check("HelmRelease", "v6.3.0-rc.1+build", "v6.3.0-rc.1");
        check("HelmRelease", "sha256:1a2b", "sha256:1a2b");
        check("Kustomization", "main@sha1:1a2b", "1a2b");
        check("Kustomization", "feature/x@sha1:1a2b", "1a2b");
        check("Kustomization", "sha1:1a2b", "1a2b");
        check("Kustomization", "latest@sha256:1a2b", "sha256:1a2b");
        check("Kustomization", "sha256:1a2b", "sha256:1a2b");
        check("Kustomization", "v1.2.3", "v1.2.3");
        check("Other", "1.0.0+build", "1.0.0+build");
    }

    #[test]
    fn the_documentation_shows_the_table() {
        const REVISIONS: [&str; 5] =
            ["6.3.0", "6.3.0+abcdef012345", "main@sha1:0123abcd", "latest@sha256:0123abcd", "v1.2.3"];
        let mut table = "| application | template | ".to_owned();
        table.extend(REVISIONS.map(|revision| format!("`{revision}` | ")));
        table = format!("{}\n{}|\n", table.trim_end(), "|---".repeat(REVISIONS.len() + 2));
        for default in DEFAULTS {
            let kind = default.kind.unwrap_or("all others");
            write!(table, "| {kind} | `{}` |", default.template.replace('|', "\\|")).unwrap();
            for revision in REVISIONS {
                write!(table, " `{}` |", written(kind, revision)).unwrap();
            }
            table.push('\n');
        }
        let page = include_str!("../../../docs/markers.md");
        assert!(page.contains(&table), "docs/markers.md does not hold this table:\n{table}");
    }
}
