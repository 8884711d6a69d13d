use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy};

const MAX_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// Headers that frame a request or belong to one connection, and those that a promotion sets itself.
const RESERVED: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "gotk-component",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-hub-signature-256",
    "x-signature",
];
const RESERVED_PREFIXES: [&str; 2] = ["ce-", "webhook-"];

/// The headers of a YAML map from names to scalars, sorted by name.
///
/// # Errors
/// What is wrong, in words that follow "key `headers`". They show no value, and a name only if it is a header's.
pub(crate) fn parse(yaml: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    if yaml.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    let map = read(yaml)?;
    if map.len() > MAX_HEADERS {
        return Err(format!("has more than {MAX_HEADERS} headers"));
    }
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(map.len());
    for (index, (name, value)) in map.iter().enumerate() {
        let name = HeaderName::try_from(name.trim()).map_err(|_invalid| {
            format!("has an entry whose name cannot be a header's (number {} by name)", index + 1)
        })?;
        if RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
        {
            return Err(format!("sets `{name}`, which is reserved"));
        }
        if headers.iter().any(|(known, _)| *known == name) {
            return Err(format!("sets `{name}` twice; header names do not differ by case"));
        }
        let refuse = || format!("sets `{name}` to a value that is not printable ASCII on one line");
        let value = value.trim();
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
            return Err(refuse());
        }
        let mut value = HeaderValue::from_str(value).map_err(|_invalid| refuse())?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    Ok(headers)
}

fn read(yaml: &str) -> Result<BTreeMap<String, String>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 4,
            max_documents: 1,
            max_aliases: 0,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
    };
    // The parser's own message may quote the YAML, so only the place is shown.
    serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
        let problem = "is not a YAML map from header names to text";
        match error.location() {
            Some(place) => format!("{problem} (line {}, column {})", place.line(), place.column()),
            None => problem.to_owned(),
        }
    })
}
