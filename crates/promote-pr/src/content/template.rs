//! Templates of titles, texts, messages and links. Pure.

use std::fmt;
use std::str::FromStr;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, Output, UndefinedBehavior, Value};
use url::Url;

use super::facts::{Changes, Facts};
use super::{TRAILER, inert};
use crate::request::Key;
use crate::value;

/// Instructions that one rendering may take; each pays for 64 bytes as well.
const FUEL: u64 = 50_000;

/// Longest result, in bytes: all that the hosts take.
const LONGEST: usize = 256 * 1024;

/// What a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Title,
    Body,
    Message,
    Link,
}

impl Place {
    /// Longest template, in bytes.
    const fn longest(self) -> usize {
        match self {
            Self::Title => 1024,
            Self::Link => 2048,
            Self::Message => 4096,
            Self::Body => 16 * 1024,
        }
    }

    /// Other people's text in this place.
    fn show(self, text: &str) -> String {
        match self {
            Self::Title | Self::Message => inert::quote(text),
            Self::Body => inert::code(text),
            Self::Link => inert::url_part(text),
        }
    }
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is empty or too long.
    #[error("it must have 1 to {0} bytes")]
    Length(usize),
    /// It holds a statement that no template may.
    #[error("{{% {0} %}} is not allowed, only if and for")]
    Statement(String),
    /// It names a variable that there is not.
    #[error("`{name}` does not exist; there are {known}")]
    Unknown {
        /// The variable.
        name: String,
        /// The variables that there are.
        known: String,
    },
    /// It shows what is not known of the promotion.
    #[error("`{0}` is not always known: test it with {{% if … %}} before it is shown")]
    NotKnown(String),
    /// It cannot be read, or not be applied to what is promoted.
    #[error("{0}")]
    Failed(String),
    /// What it makes has no text, or a message no subject.
    #[error("it leaves {0} empty")]
    Empty(&'static str),
    /// The trailer that names the promotion is added, and must not stand there twice.
    #[error("the trailer `{TRAILER}` is added by itself")]
    Trailer,
    /// What it makes is no `https` URL.
    #[error("it does not make an https URL")]
    NotUrl,
}

macro_rules! templates {
    ($($(#[$doc:meta])* $name:ident, $place:ident;)+) => {$(
        $(#[$doc])*
        ///
        /// The variables and filters are those of [docs/pull-requests.md]. A template that reads a variable which is not
        /// always known has to test it.
        ///
        /// [docs/pull-requests.md]: https://github.com/weaveworks/pipeline-controller/blob/main/docs/pull-requests.md
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// The template as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub(super) fn fill(&self, facts: Facts) -> Result<String, TemplateError> {
                render(Place::$place, &self.0, facts, UndefinedBehavior::SemiStrict)
            }
        }

        impl FromStr for $name {
            type Err = TemplateError;

            fn from_str(text: &str) -> Result<Self, TemplateError> {
                check(Place::$place, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

templates! {
    /// The title of a pull request.
    ///
    /// ```
    /// let template: promote_pr::TitleTemplate = "[{{ environment }}] {{ pipeline }} {{ revision }}".parse()?;
    /// # Ok::<(), promote_pr::TemplateError>(())
    /// ```
    TitleTemplate, Title;
    /// The text of a pull request, in Markdown. Values show as code.
    ///
    /// ```
    /// let text = "{% for change in changes %}\n- {{ change.path }}: {{ change.old }} → {{ change.new }}\n{% endfor %}";
    /// let template: promote_pr::BodyTemplate = text.parse()?;
    /// # Ok::<(), promote_pr::TemplateError>(())
    /// ```
    BodyTemplate, Body;
    /// The message of a commit. The trailer that names the promotion is added to the
    /// [trailers](https://git-scm.com/docs/git-interpret-trailers) that the template ends with, or behind its text.
    ///
    /// ```
    /// let text = "chore({{ environment }}): {{ revision }}\n\nSigned-off-by: Bot <bot@example.com>";
    /// let template: promote_pr::MessageTemplate = text.parse()?;
    /// # Ok::<(), promote_pr::TemplateError>(())
    /// ```
    MessageTemplate, Message;
    /// A URL that is made of a promotion's key. Values are percent-encoded.
    LinkTemplate, Link;
}

impl LinkTemplate {
    /// The link for a promotion.
    ///
    /// # Errors
    ///
    /// A part that the revision does not have, or a result that is no `https` URL.
    ///
    /// ```
    /// # let key = promote_pr::Key { namespace: "default".into(), pipeline: "podinfo".into(), environment: "prod".into(),
    /// #     revision: "6.3.0".into(), sequence: 1 };
    /// let template: promote_pr::LinkTemplate = "https://github.com/org/app/releases/tag/v{{ semver }}".parse()?;
    /// assert_eq!(template.render(&key, None)?.as_str(), "https://github.com/org/app/releases/tag/v6.3.0");
    /// # Ok::<(), promote_pr::TemplateError>(())
    /// ```
    pub fn render(&self, key: &Key, source_environment: Option<&str>) -> Result<Url, TemplateError> {
        url(&self.fill(Facts::of_key(key, source_environment))?)
    }
}

/// Whether the template can be used for every promotion whose revision has the parts that it names.
fn check(place: Place, text: &str) -> Result<(), TemplateError> {
    if text.trim().is_empty() || text.len() > place.longest() {
        return Err(TemplateError::Length(place.longest()));
    }
    if text.lines().any(|line| line.trim_start().starts_with(TRAILER)) {
        return Err(TemplateError::Trailer);
    }
    for statement in text.split("{%").skip(1) {
        let statement = statement.trim_start_matches(['-', '+']).trim_start();
        let end = statement.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(statement.len());
        let word = statement.get(..end).unwrap_or_default();
        if !matches!(word, "if" | "elif" | "else" | "endif" | "for" | "endfor") {
            return Err(TemplateError::Statement(word.to_owned()));
        }
    }
    let all = Facts::sample(place, true);
    let environment = environment(place, UndefinedBehavior::Strict);
    let template = environment.template_from_str(text).map_err(|error| failed(&error))?;
    let known = all.names();
    let mut names: Vec<_> = template.undeclared_variables(false).into_iter().collect();
    names.sort();
    if let Some(name) = names.into_iter().find(|name| !known.contains(&name.as_str())) {
        return Err(TemplateError::Unknown { name, known: known.join(", ") });
    }
    let results = [
        render(place, text, all, UndefinedBehavior::Strict)?,
        render(place, text, Facts::sample(place, false), UndefinedBehavior::SemiStrict)?,
    ];
    results.iter().try_for_each(|result| match place {
        Place::Title if result.trim().is_empty() => Err(TemplateError::Empty("the title")),
        Place::Message => subject(result).map(drop),
        Place::Link => url(result).map(drop),
        Place::Title | Place::Body => Ok(()),
    })
}

/// The first line of a commit's message.
pub(super) fn subject(message: &str) -> Result<&str, TemplateError> {
    let subject = message.lines().next().unwrap_or_default();
    if subject.trim().is_empty() { Err(TemplateError::Empty("the first line")) } else { Ok(subject) }
}

fn url(text: &str) -> Result<Url, TemplateError> {
    let url = Url::parse(text.trim()).map_err(|_error| TemplateError::NotUrl)?;
    let is_plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    if is_plain { Ok(url) } else { Err(TemplateError::NotUrl) }
}

fn render(place: Place, text: &str, facts: Facts, undefined: UndefinedBehavior) -> Result<String, TemplateError> {
    let environment = environment(place, undefined);
    let template = environment.template_from_str(text).map_err(|error| failed(&error))?;
    let mut unknown: Vec<_> =
        template.undeclared_variables(true).into_iter().filter(|name| !facts.know(name)).collect();
    unknown.sort();
    let text = template.render(facts.into_value()).map_err(|error| match error.kind() {
        ErrorKind::UndefinedError if !unknown.is_empty() => TemplateError::NotKnown(unknown.join("`, `")),
        _ => failed(&error),
    })?;
    if text.len() > LONGEST {
        return Err(TemplateError::Failed(format!("it makes more than {LONGEST} bytes")));
    }
    Ok(text)
}

fn environment(place: Place, undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = value::environment();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(undefined);
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_formatter(move |out, _state, value| show(place, out, value));
    environment.add_filter("length", |value: &Value| value.len());
    environment.add_filter("urlencode", |text: &str| Value::from_safe_string(inert::url_part(text)));
    environment
}

/// Prints what is ours as it is, and other people's text so that it means nothing else.
fn show(place: Place, out: &mut Output, value: &Value) -> Result<(), minijinja::Error> {
    let text = if let Some(changes) = value.downcast_object_ref::<Changes>() {
        changes.text().to_owned()
    } else {
        match (value.kind(), value.as_str()) {
            (ValueKind::String, Some(text)) if value.is_safe() => text.to_owned(),
            (ValueKind::String, Some(text)) => place.show(text),
            (ValueKind::Number, _) => value.to_string(),
            (kind, _) => {
                let why = format!("a value of type {kind} cannot be shown");
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, why));
            }
        }
    };
    out.write_str(&text).map_err(minijinja::Error::from)
}

fn failed(error: &minijinja::Error) -> TemplateError {
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    TemplateError::Failed(format!("{}{line}", value::reason(error)))
}

/// The message with one more trailer.
pub(super) fn with_trailer(message: &str, trailer: &str) -> String {
    let message = message.trim_end();
    let last = message.rsplit_once("\n\n").map(|(_, last)| last);
    let separator = if last.is_some_and(|last| last.lines().all(is_trailer)) { "\n" } else { "\n\n" };
    format!("{message}{separator}{trailer}\n")
}

fn is_trailer(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(key, value)| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !value.trim().is_empty()
    })
}

#[cfg(test)]
mod tests;
