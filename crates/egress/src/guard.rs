//! Which addresses are called, decided on the address that is connected to.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Which addresses may be connected to.
///
/// An address is called if [`Guard::allow`] has it, whatever else holds; otherwise it is not if [`Guard::deny`] has it, if it is
/// the API server's, or if it is built in: loopback, unspecified, link-local, multicast and reserved addresses, and those at which
/// clouds serve their metadata. Every other address is called, private networks among them.
///
/// IPv6 addresses that carry an IPv4 address (mapped, compatible, translated, NAT64, 6to4) are judged by both.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Addresses that are called whatever the other fields and the built-in list say.
    pub allow: Vec<IpNet>,
    /// Addresses that are not called.
    pub deny: Vec<IpNet>,
    /// The addresses of the API server: whoever may write a Pipeline is not to speak to it from where the controller runs.
    pub api_server: Vec<IpAddr>,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(a: u16, b: u16, h: u16, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, h), length))
}

const LOOPBACK: &str = "a loopback address";
const UNSPECIFIED: &str = "an address of this host itself";
const LINK_LOCAL: &str = "a link-local address";
const METADATA: &str = "an address of cloud metadata";
const NOT_A_HOST: &str = "a multicast or reserved address";

/// The ranges of the [IANA registry](https://www.iana.org/assignments/iana-ipv4-special-registry/) that never lead to a server
/// elsewhere, and the metadata services of AWS, Azure, Alibaba, Google and Oracle beyond link-local ones.
const BUILT_IN: [(IpNet, &str); 14] = [
    (v6(0, 0, 1, 128), LOOPBACK),
    (v4(0, 0, 0, 0, 8), UNSPECIFIED),
    (v4(127, 0, 0, 0, 8), LOOPBACK),
    (v4(169, 254, 0, 0, 16), LINK_LOCAL),
    (v4(168, 63, 129, 16, 32), METADATA),
    (v4(100, 100, 100, 200, 32), METADATA),
    (v4(192, 0, 0, 192, 32), METADATA),
    (v4(224, 0, 0, 0, 4), NOT_A_HOST),
    (v4(240, 0, 0, 0, 4), NOT_A_HOST),
    (v6(0, 0, 0, 128), UNSPECIFIED),
    (v6(0xfe80, 0, 0, 10), LINK_LOCAL),
    (v6(0xff00, 0, 0, 8), NOT_A_HOST),
    (v6(0xfd00, 0x0ec2, 0, 32), METADATA),
    (v6(0xfd20, 0x00ce, 0x0254, 128), METADATA),
];

impl Guard {
    /// What `address` is that it is not called; `None` if it is called.
    pub(crate) fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let forms = [Some(address), embedded(address).map(IpAddr::V4)];
        let any = |test: &dyn Fn(&IpAddr) -> bool| forms.iter().flatten().any(test);
        let within = |nets: &[IpNet]| any(&|form| nets.iter().any(|net| net.contains(form)));
        if within(&self.allow) {
            return None;
        }
        if within(&self.deny) {
            return Some("denied by the operator");
        }
        if any(&|form| self.api_server.contains(form)) {
            return Some("the API server's address");
        }
        BUILT_IN.iter().find(|(net, _)| any(&|form| net.contains(form))).map(|(_, what)| *what)
    }

    /// Refuses a host that is an address, as [`Guard::refuses`] says; names are judged once they are looked up.
    pub(crate) fn check_literal(&self, host: &str) -> Result<(), Denied> {
        literal(host).map_or(Ok(()), |address| self.check(address))
    }

    fn check(&self, address: IpAddr) -> Result<(), Denied> {
        self.refuses(address).map_or(Ok(()), |why| Err(Denied { address, why }))
    }
}

/// An address in a URL's host, where IPv6 has brackets.
fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// The IPv4 address that a packet to an IPv6 address may end at.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let low = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // ::ffff:a.b.c.d, ::a.b.c.d and ::ffff:0:a.b.c.d
        [0, 0, 0, 0, 0, 0 | 0xffff, high, last] | [0, 0, 0, 0, 0xffff, 0, high, last] => low(high, last),
        // https://www.rfc-editor.org/rfc/rfc6052#section-2.1 and https://www.rfc-editor.org/rfc/rfc8215
        [0x0064, 0xff9b, 0 | 1, _, _, _, high, last] => low(high, last),
        // https://www.rfc-editor.org/rfc/rfc3056#section-2
        [0x2002, high, last, ..] => low(high, last),
        _ => None,
    }
}

/// Why a host is not connected to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Denied {
    pub(crate) address: IpAddr,
    pub(crate) why: &'static str,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.address, self.why)
    }
}

impl std::error::Error for Denied {}

/// How names become addresses.
#[derive(Clone)]
pub(crate) enum Lookup {
    System,
    #[cfg(test)]
    Dns(SocketAddr),
}

/// Looks names up once for each connection and hands on the addresses that the guard lets through, so that what was checked is
/// what is connected to.
#[derive(Clone)]
pub(crate) struct Resolver {
    pub(crate) guard: Arc<Guard>,
    pub(crate) lookup: Lookup,
}

/// Why a name has no address to connect to.
#[derive(Debug)]
pub(crate) enum Unresolved {
    Denied(Denied),
    Failed(io::Error),
}

impl Resolver {
    /// The addresses of `host`, a name or an address, that may be connected to; at least one.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        if let Some(address) = literal(host) {
            return self.guard.check(address).map(|()| vec![address]).map_err(Unresolved::Denied);
        }
        let found = self.lookup(host).await.map_err(Unresolved::Failed)?;
        let (mut allowed, mut denied) = (Vec::new(), None);
        for address in found {
            match self.guard.check(address) {
                Ok(()) => allowed.push(address),
                Err(why) => denied = Some(why),
            }
        }
        match (allowed.is_empty(), denied) {
            (false, _) => Ok(allowed),
            (true, Some(denied)) => Err(Unresolved::Denied(denied)),
            (true, None) => Err(Unresolved::Failed(io::Error::other("the name has no address"))),
        }
    }

    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match &self.lookup {
            Lookup::System => Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()),
            #[cfg(test)]
            Lookup::Dns(server) => crate::tests::dns::ask(*server, host).await,
        }
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        let resolving: BoxFuture<'static, _> = Box::pin(async move {
            match Self::resolve(&resolver, name.as_str()).await {
                Ok(addresses) => {
                    let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
                    let addresses: reqwest::dns::Addrs = Box::new(addresses);
                    Ok(addresses)
                }
                Err(Unresolved::Denied(denied)) => Err(denied.into()),
                Err(Unresolved::Failed(error)) => Err(error.into()),
            }
        });
        resolving
    }
}

#[cfg(test)]
mod tests;
