use http::Uri;
use url::Url;

/// The longest `address` or `proxy`, in bytes, as in
/// [Flux](https://fluxcd.io/flux/components/notification/providers/#address).
const MAX_URL: usize = 2048;

/// What is wrong with a text that is no URL; the text itself is not repeated.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    if text.len() > MAX_URL {
        return Err(format!("is longer than {MAX_URL} bytes"));
    }
    Url::parse(text).map_err(|error| format!("is not a URL: {error}"))
}

/// A URL that a webhook can be called at, or what is wrong with it.
pub(crate) fn of_webhook(text: &str) -> Result<Url, String> {
    let url = parse(text)?;
    let problem = if !matches!(url.scheme(), "https" | "http") {
        "is not an https URL"
    } else if !url.username().is_empty() || url.password().is_some() {
        "has a user name or password before the host; use an `Authorization` header under `headers`"
    } else if url.as_str().parse::<Uri>().is_err() {
        "has a character that no URL can be called with"
    } else {
        return Ok(url);
    };
    Err(problem.to_owned())
}
