//! Which files an update is for.

use globset::{GlobBuilder, GlobMatcher};
use std::fmt;
use std::str::FromStr;

/// A pattern for paths from the root of a repository, `/` between their parts.
///
/// `*` and `?`, which is one byte, stay within one part, `**` spans parts, `[ab]` and `{a,b}` are choices, and a backslash takes the next
/// character as it is. Letters of different case are different. Syntax: [globset].
///
/// [globset]: https://docs.rs/globset/0.4/globset/#syntax
#[derive(Clone)]
pub struct Glob(GlobMatcher);

impl Glob {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.0.glob().glob()
    }

    /// Whether the pattern takes a path.
    pub fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

impl FromStr for Glob {
    type Err = String;

    /// The error says in one sentence what is wrong.
    fn from_str(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        if pattern.starts_with('/') || pattern.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!(
                "`{pattern}` must be a path from the root of the repository, without `/` at its start and end and without `.` and `..`"
            ));
        }
        let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
        glob.map(|glob| Self(glob.compile_matcher())).map_err(|error| error.to_string())
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Glob {}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.as_str())
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches() {
        let check = |pattern: &str, path: &str, expect: bool| {
            assert_eq!(pattern.parse::<Glob>().unwrap().matches(path), expect, "{pattern} {path}");
        };
        check("a.yaml", "a.yaml", true);
        check("a.yaml", "b/a.yaml", false);
        check("*.yaml", "a.yaml", true);
        check("*.yaml", "b/a.yaml", false);
        check("apps/*/a.yaml", "apps/prod/a.yaml", true);
        check("apps/*/a.yaml", "apps/prod/eu/a.yaml", false);
        check("apps/**/a.yaml", "apps/a.yaml", true);
        check("apps/**/a.yaml", "apps/prod/eu/a.yaml", true);
        check("**", "apps/prod/a.yaml", true);
        check("a.{yaml,yml}", "a.yml", true);
        check("a.YAML", "a.yaml", false);
        check("a[0-9].yaml", "a7.yaml", true);
        check(r"a\*.yaml", "a*.yaml", true);
        check(r"a\*.yaml", "ab.yaml", false);
    }

    #[test]
    fn refuses() {
        for pattern in ["", "/a", "a/", "./a", "../a", "a/../b", "a//b", "[", "{a", "a**b/{"] {
            assert!(pattern.parse::<Glob>().is_err(), "{pattern:?}");
        }
    }
}
