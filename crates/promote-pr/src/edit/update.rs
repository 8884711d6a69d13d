//! What is asked for: which files, which scalars in them, and what they get.

use super::Glob;
use std::fmt;

/// One thing to write: in which files, where in them, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The files that it is for. `None` takes every file; with a glob, the update must lead to a scalar of some file.
    pub files: Option<Glob>,
    /// Where in these files.
    pub target: Target,
    /// What the scalars get.
    pub value: String,
}

impl Update {
    /// An update of every file.
    pub fn new(target: Target, value: impl Into<String>) -> Self {
        Self { files: None, target, value: value.into() }
    }
}

impl fmt::Display for Update {
    /// ``the marker `a:b:c` ``, or ``the field `spec.tag` of `apps/*.yaml` ``
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.files {
            Some(files) => write!(f, "{} of `{files}`", self.target),
            None => self.target.fmt(f),
        }
    }
}

/// Where to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every scalar that carries the comment `# {"$promotion": "<this string>"}`, whose form is
    /// `namespace:pipeline:environment`.
    Marker(String),
    /// The one scalar of each file that a path in the selected documents leads to.
    Path(Selector),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marker(marker) => write!(f, "the marker `{marker}`"),
            Self::Path(selector) => write!(f, "the field `{}`", selector.path),
        }
    }
}

/// A field path, and the documents of a file in which it is looked for. An empty filter takes every document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `spec.chart.spec.version`, `spec.containers[name=app].image`, `metadata["example.com/version"]`, `images[0].tag`,
    /// or a JSON pointer such as `/spec/chart/spec/version`. A dot that belongs to a key is written `\.`, or the key is
    /// quoted. Merge keys (`<<`) and aliases are not followed.
    pub path: String,
    /// The document's `kind`.
    pub kind: Option<String>,
    /// The document's `metadata.name`.
    pub name: Option<String>,
    /// The document's `metadata.namespace`.
    pub namespace: Option<String>,
    /// The document's `apiVersion`.
    pub api_version: Option<String>,
    /// The document's place in the file, from 0.
    pub document: Option<usize>,
}

impl Selector {
    /// Whether the path can be read.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one sentence.
    pub fn check(&self) -> Result<(), String> {
        super::select::parse(&self.path).map(drop)
    }
}
