//! The words of commits, pull requests and comments. Pure.

mod facts;
mod inert;
mod template;

use uuid::Uuid;

use crate::error::Error;
use crate::host::{Capabilities, PullRequest};
use crate::request::{FileChange, Request};

use self::facts::{Changes, Facts};
use self::inert::{code, length, shorten, target};
use self::template::Place;

pub use self::template::{BodyTemplate, LinkTemplate, MessageTemplate, TemplateError, TitleTemplate};

/// Names the promotion in a [trailer](https://git-scm.com/docs/git-interpret-trailers) of the commit, and in the last
/// line of the pull request's body.
const TRAILER: &str = "Promotion-Id";

/// Names the promotion's trace in the same places, where there is one.
const TRACE: &str = "Traceparent";

const TITLE: &str = "Promote {{ namespace }}/{{ pipeline }} to {{ revision }} in {{ environment }}";

const BODY: &str = include_str!("content/body.md");

const MESSAGE: &str = "{{ title }}\n\n{{ changes }}";

/// The pull request's title; the same whenever it is made for a request.
pub(crate) fn title(request: &Request, limit: usize) -> Result<String, Error> {
    let facts = Facts::of_key(&request.key, request.source_environment.as_deref());
    let title =
        filled("title", request.templates.title.as_ref(), TITLE, |template: TitleTemplate| template.fill(facts))?;
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    if title.is_empty() {
        return Err(Error::Template { what: "title", source: TemplateError::Empty("the title") });
    }
    Ok(shorten(&title, limit))
}

/// The commit's message; `usual` if the request has no template of its own.
pub(crate) fn commit_message(
    request: &Request,
    changes: &[FileChange],
    usual: Option<&MessageTemplate>,
    trace: bool,
) -> Result<String, Error> {
    const SUBJECT: usize = 120;
    let changes = Changes::new(changes, Place::Message, usize::MAX);
    let facts = Facts::of_promotion(request, changes).with_title(&title(request, SUBJECT)?);
    let given = request.templates.message.as_ref().or(usual);
    let message = filled("commit message", given, MESSAGE, |template: MessageTemplate| {
        let message = template.fill(facts)?;
        template::subject(&message)?;
        Ok(message)
    })?;
    let message = match trace {
        true => template::with_trailer(&message, &trace_trailer(request)),
        false => message,
    };
    Ok(template::with_trailer(&message, &trailer(request.key.id())))
}

/// The pull request's text, in Markdown.
pub(crate) fn body(
    request: &Request,
    changes: &[FileChange],
    capabilities: Capabilities,
    trace: bool,
) -> Result<String, Error> {
    let changes = Changes::new(changes, Place::Body, capabilities.body / 4 * 3);
    let facts = Facts::of_promotion(request, changes).with_title(&title(request, capabilities.title)?);
    let body = filled("body", request.templates.body.as_ref(), BODY, |template: BodyTemplate| template.fill(facts))?;
    let trace = if trace { format!("{}\n", trace_trailer(request)) } else { String::new() };
    let end = format!("\n\n{trace}{}\n", trailer(request.key.id()));
    Ok(fit(body.trim(), capabilities.body.saturating_sub(length(&end))) + &end)
}

/// What the template makes, or the usual one.
fn filled<T: Clone + std::str::FromStr<Err = TemplateError>>(
    what: &'static str,
    given: Option<&T>,
    usual: &str,
    fill: impl FnOnce(T) -> Result<String, TemplateError>,
) -> Result<String, Error> {
    let template = given.cloned().map_or_else(|| usual.parse(), Ok);
    template.and_then(fill).map_err(|source| Error::Template { what, source })
}

/// At most `limit` characters: whole lines, and a last one that says that there were more.
fn fit(text: &str, limit: usize) -> String {
    const MORE: &str = "\n…";
    if length(text) <= limit {
        return text.to_owned();
    }
    let short: String = text.chars().take(limit.saturating_sub(length(MORE))).collect();
    let lines = short.rsplit_once('\n').map_or(short.as_str(), |(lines, _)| lines);
    format!("{lines}{MORE}")
}

/// What is said on a pull request that gives way to another.
pub(crate) fn superseded_by(request: &Request, by: &PullRequest) -> String {
    let revision = code(&request.key.revision);
    format!("Superseded by #{} ({}), which promotes revision {revision}.", by.number, target(&by.url))
}

/// What is said on a pull request when the base branch holds a newer revision already.
pub(crate) fn superseded_on_base(request: &Request) -> String {
    let revision = code(&request.key.revision);
    format!("Superseded: branch {} holds revision {revision} already.", code(request.base.as_str()))
}

/// What is said on a pull request that is withdrawn.
pub(crate) fn withdrawn(reason: &str) -> String {
    format!("Closed: {}", code(reason))
}

/// Whether a commit's message or a pull request's body is that of this promotion.
pub(crate) fn is_of(text: &str, id: Uuid) -> bool {
    let trailer = trailer(id);
    text.lines().any(|line| line.trim() == trailer)
}

/// Whether a commit's message or a pull request's body is that of any promotion.
pub(crate) fn is_of_some_promotion(text: &str) -> bool {
    let id = |line: &str| line.trim().strip_prefix(TRAILER)?.strip_prefix(": ")?.parse::<Uuid>().ok();
    text.lines().any(|line| id(line).is_some())
}

fn trace_trailer(request: &Request) -> String {
    format!("{TRACE}: {}", request.key.traceparent())
}

fn trailer(id: Uuid) -> String {
    format!("{TRAILER}: {id}")
}

#[cfg(test)]
mod tests;
