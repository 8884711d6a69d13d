//! What is written for a revision: the parts that it is made of, and templates over them. Pure.
//!
//! ```
//! use promote_pr::value::Template;
//!
//! let template: Template = "v{{ revision | semver }}".parse()?;
//! assert_eq!(template.render("6.3.0+abcdef012345")?, "v6.3.0");
//!
//! let template: Template = "{{ commit[:7] }}".parse()?;
//! assert_eq!(template.render("main@sha1:0123456789abcdef0123456789abcdef01234567")?, "0123456");
//! # Ok::<(), promote_pr::value::Error>(())
//! ```
//!
//! Templates are [minijinja]'s expressions in `{{ … }}`, without statements, loops and products, so that a template
//! cannot take more time and space than its own length allows. What is not there is an error, never empty text.
//!
//! [minijinja]: https://docs.rs/minijinja/3/minijinja/syntax/

mod parts;

pub use parts::{Part, Parts};

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

/// Longest template and longest result, in bytes.
const LONGEST: usize = 1024;

/// How a value is made of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The template is not one.
    #[error("the template {template:?} cannot be read: {reason}")]
    Syntax {
        /// The template.
        template: String,
        /// What is wrong.
        reason: String,
    },
    /// The template asks for something that no revision has.
    #[error("the template {template:?} names {name:?}, which does not exist; there are {}", names())]
    Unknown {
        /// The template.
        template: String,
        /// The variable.
        name: String,
    },
    /// The revision lacks a part that the template needs.
    #[error("the template {template:?} needs the {part} of the revision, and {revision:?} has none")]
    Missing {
        /// The template.
        template: String,
        /// The part.
        part: Part,
        /// The revision.
        revision: String,
    },
    /// The template cannot be applied to the revision.
    #[error("the template {template:?} cannot be applied to revision {revision:?}: {reason}")]
    Failed {
        /// The template.
        template: String,
        /// The revision.
        revision: String,
        /// What is wrong.
        reason: String,
    },
}

fn names() -> String {
    let mut names = vec!["revision"];
    names.extend(Part::ALL.iter().map(|part| part.as_str()));
    names.join(", ")
}

impl Template {
    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value for a revision.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] and [`Error::Failed`], also if the result is empty or longer than 1,024 bytes.
    pub fn render(&self, revision: &str) -> Result<String, Error> {
        let parts = Parts::of(revision);
        let environment = environment();
        let failed = |reason: String| Error::Failed { template: self.0.clone(), revision: revision.to_owned(), reason };
        let template = environment.template_from_str(&self.0).map_err(|error| failed(reason(&error)))?;
        let known = Part::ALL.iter().filter_map(|&part| Some((part.as_str(), parts.get(part)?)));
        let context: BTreeMap<_, _> =
            known.chain([("revision", revision)]).map(|(name, text)| (name, Value::from(text))).collect();
        let value = template.render(Value::from(context)).map_err(|error| {
            let names = template.undeclared_variables(false);
            let missing = Part::ALL.iter().find(|part| names.contains(part.as_str()) && parts.get(**part).is_none());
            match (error.kind(), missing) {
                (ErrorKind::UndefinedError, Some(&part)) => {
                    Error::Missing { template: self.0.clone(), part, revision: revision.to_owned() }
                }
                _ => failed(reason(&error)),
            }
        })?;
        match value.len() {
            0 => Err(failed("the result is empty".to_owned())),
            1..=LONGEST => Ok(value),
            length => Err(failed(format!("the result has {length} bytes of at most {LONGEST}"))),
        }
    }
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let syntax = |reason: String| Error::Syntax { template: text.to_owned(), reason };
        if text.is_empty() || text.len() > LONGEST {
            return Err(syntax(format!("it must have 1 to {LONGEST} bytes")));
        }
        if text.contains("{%") {
            return Err(syntax("statements in {% … %} are not allowed, only expressions in {{ … }}".to_owned()));
        }
        if text.contains('*') {
            return Err(syntax("products are not allowed".to_owned()));
        }
        let environment = environment();
        let template = environment.template_from_str(text).map_err(|error| syntax(reason(&error)))?;
        let mut names: Vec<_> = template.undeclared_variables(false).into_iter().collect();
        names.sort();
        let is_known = |name: &str| name == "revision" || Part::ALL.iter().any(|part| part.as_str() == name);
        match names.into_iter().find(|name| !is_known(name)) {
            Some(name) => Err(Error::Unknown { template: text.to_owned(), name }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Nothing but what is named here: no files, no functions, no tests.
pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter(
        "default",
        |value: &Value, other: Value| {
            if value.is_undefined() { other } else { value.clone() }
        },
    );
    environment.add_filter("lower", |text: &str| text.to_lowercase());
    environment.add_filter("upper", |text: &str| text.to_uppercase());
    environment.add_filter("replace", replace);
    for &part in Part::ALL {
        environment.add_filter(part.as_str(), move |revision: &str| {
            Parts::of(revision).get(part).map(str::to_owned).ok_or_else(|| {
                minijinja::Error::new(ErrorKind::InvalidOperation, format!("{revision:?} has no {part}"))
            })
        });
    }
    environment
}

fn replace(text: &str, from: &str, to: &str) -> Result<String, minijinja::Error> {
    if from.is_empty() {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "replace needs a text to look for"));
    }
    let replaced = text.replace(from, to);
    if replaced.len() > LONGEST {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "the result of replace is too long"));
    }
    Ok(replaced)
}

pub(crate) fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests;
