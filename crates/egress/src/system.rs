use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::error;

/// The proxy of the process' environment, read once.
pub(crate) struct SystemProxy(Matcher);

impl SystemProxy {
    /// `None` if the environment names no proxy.
    pub(crate) fn read() -> Option<Self> {
        let system = Self(Matcher::from_system());
        // No entry of NO_PROXY matches a name of this domain (https://www.rfc-editor.org/rfc/rfc6761#section-6.4) but `*`.
        let probes = ["https://probe.invalid", "http://probe.invalid"].map(Uri::from_static);
        probes.iter().any(|probe| system.0.intercept(probe).is_some()).then_some(system)
    }

    /// The proxy that carries a call to `url`, as it is shown; `None` if it goes there directly.
    pub(crate) fn for_url(&self, url: &Uri) -> Option<String> {
        let intercept = self.0.intercept(url)?;
        Some(match Url::parse(&intercept.uri().to_string()) {
            Ok(proxy) => error::peer(&proxy),
            Err(_) => "of the environment".to_owned(),
        })
    }
}
