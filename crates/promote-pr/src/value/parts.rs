//! What a revision is made of.

use std::fmt;

/// The parts of a revision; those that it does not have are `None`.
///
/// | revision | tag | branch | commit | digest | semver | build |
/// |---|---|---|---|---|---|---|
/// | `6.3.0` | `6.3.0` | | | | `6.3.0` | |
/// | `v6.3.0-rc.1` | `v6.3.0-rc.1` | | | | `6.3.0-rc.1` | |
/// | `6.3.0+abcdef012345` | `6.3.0` | | | | `6.3.0` | `abcdef012345` |
/// | `main@sha1:1a2b…` | `main` | `main` | `1a2b…` | | | |
/// | `refs/tags/v6.3.0@sha1:1a2b…` | `v6.3.0` | | `1a2b…` | | `6.3.0` | |
/// | `refs/heads/main@sha1:1a2b…` | | `main` | `1a2b…` | | | |
/// | `latest@sha256:1a2b…` | `latest` | | | `sha256:1a2b…` | | |
/// | `sha256:1a2b…` | | | | `sha256:1a2b…` | | |
/// | `sha1:1a2b…`, 40 hexadecimal digits | | | `1a2b…` | | | |
/// | `main/` and 40 hexadecimal digits | `main` | `main` | `1a2b…` | | | |
///
/// The forms are those of [Flux], which writes branches and tags of git alike, of Flux before 2.0, and of Helm charts,
/// whose build metadata is the beginning of a digest.
///
/// [Flux]: https://github.com/fluxcd/flux2/tree/main/rfcs/0005-artifact-revision-and-digest
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The name before the commit or digest, else the revision itself; without build metadata, which image tags cannot
    /// have ([OCI](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests)).
    pub tag: Option<String>,
    /// The name before a commit.
    pub branch: Option<String>,
    /// The id of a commit in hexadecimal digits.
    pub commit: Option<String>,
    /// A digest with its algorithm.
    pub digest: Option<String>,
    /// The [semantic version](https://semver.org) in the name, without `v` before it and build metadata behind it.
    pub semver: Option<String>,
    /// The build metadata of the semantic version.
    pub build: Option<String>,
}

macro_rules! parts {
    ($($variant:ident, $name:ident;)+) => {
        /// A part of a revision, see [`Parts`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Part {
            $(#[doc = concat!("[`Parts::", stringify!($name), "`]")] $variant,)+
        }

        impl Part {
            /// Every part.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in templates, as a variable and as a filter.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name)),+ }
            }
        }

        impl Parts {
            /// A part by its name.
            pub fn get(&self, part: Part) -> Option<&str> {
                match part { $(Part::$variant => self.$name.as_deref()),+ }
            }
        }
    };
}

parts! {
    Tag, tag;
    Branch, branch;
    Commit, commit;
    Digest, digest;
    Semver, semver;
    Build, build;
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Parts {
    /// The parts of a revision.
    pub fn of(revision: &str) -> Self {
        let (name, pointer) = divide(revision);
        let commit = pointer.and_then(|pointer| match pointer.split_once(':') {
            None => Some(pointer),
            Some(("sha1", id)) => Some(id),
            Some(_) => None,
        });
        let digest = pointer.filter(|_| commit.is_none());
        let (tag, branch) = match name {
            None => (None, None),
            Some(name) => match (name.strip_prefix("refs/tags/"), name.strip_prefix("refs/heads/")) {
                (Some(tag), _) => (Some(tag), None),
                (None, Some(branch)) => (None, Some(branch)),
                (None, None) if name.starts_with("refs/") => (None, None),
                (None, None) => (Some(name), commit.and(Some(name))),
            },
        };
        let version = tag.and_then(|tag| semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok());
        let build = version.as_ref().map(|version| version.build.to_string()).filter(|build| !build.is_empty());
        let tag = tag.map(|tag| match commit {
            Some(_) => tag,
            None => tag.split_once('+').map_or(tag, |(tag, _)| tag),
        });
        let semver = version.map(|version| semver::Version { build: semver::BuildMetadata::EMPTY, ..version });
        Self {
            tag: tag.map(str::to_owned),
            branch: branch.map(str::to_owned),
            commit: commit.map(str::to_owned),
            digest: digest.map(str::to_owned),
            semver: semver.map(|version| version.to_string()),
            build,
        }
    }
}

/// A revision as the name and what the name pointed to.
fn divide(revision: &str) -> (Option<&str>, Option<&str>) {
    if is_pointer(revision) {
        return (None, Some(revision));
    }
    if let Some((name, pointer)) = revision.rsplit_once('@')
        && is_pointer(pointer)
        && pointer.contains(':')
    {
        return (Some(name), Some(pointer));
    }
    match revision.rsplit_once('/') {
        Some((name, id)) if is_commit_id(id) => (Some(name), Some(id)),
        _ => (Some(revision), None),
    }
}

fn is_pointer(text: &str) -> bool {
    const ALGORITHMS: [&str; 5] = ["sha1", "sha256", "sha384", "sha512", "blake3"];
    match text.split_once(':') {
        Some((algorithm, hex)) => ALGORITHMS.contains(&algorithm) && is_hex(hex),
        None => is_commit_id(text),
    }
}

fn is_commit_id(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
