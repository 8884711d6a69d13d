use egress::Proxy;
use secrecy::SecretString;

use crate::{Error, SecretValues, address};

/// The proxy of a Secret of its own, as Flux'
/// [`proxySecretRef`](https://fluxcd.io/flux/components/notification/providers/#http-proxy) names it.
pub(crate) fn parse(secret: &SecretValues) -> Result<Proxy, Error> {
    let Some(proxy) = at(secret, "address")? else {
        return Err(Error::NoCredentials { secret: secret.secret(), wanted: "the proxy's `address`" });
    };
    let username = secret.line("username", str::trim)?;
    let password = secret.line("password", |text| text.trim_matches(['\r', '\n']))?;
    if password.is_some() && username.is_none() {
        return Err(secret.key("username", "is missing; `password` needs it"));
    }
    if username.is_some_and(|name| name.contains(':')) {
        return Err(secret.key("username", "holds a colon, which basic authentication cannot carry"));
    }
    Ok(match username {
        Some(username) => {
            Proxy { username: Some(username.to_owned()), password: password.map(SecretString::from), ..proxy }
        }
        None => proxy,
    })
}

/// The proxy under `key`, whose address may carry `user:password@`.
pub(crate) fn at(secret: &SecretValues, key: &'static str) -> Result<Option<Proxy>, Error> {
    let Some(text) = secret.line(key, str::trim)? else { return Ok(None) };
    let url = address::parse(text).map_err(|problem| secret.key(key, problem))?;
    Proxy::new(url).map(Some).map_err(|error| match error {
        egress::Error::Proxy { problem, .. } => secret.key(key, format!("cannot be used: {problem}")),
        _ => secret.key(key, "cannot be used"),
    })
}
