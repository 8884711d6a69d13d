//! OpenSSH's [known hosts](https://man.openbsd.org/sshd.8#SSH_KNOWN_HOSTS_FILE_FORMAT), from text.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::PublicKey;

use super::host_key::Expected;

/// The lines that say something.
pub(super) struct KnownHosts(Vec<Entry>);

struct Entry {
    marker: Marker,
    hosts: Hosts,
    /// Absent where it is of an unknown type or cannot be read.
    key: Option<PublicKey>,
    line: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    CertAuthority,
    Revoked,
}

enum Hosts {
    Patterns(Vec<String>),
    Hashed { salt: Vec<u8>, tag: Vec<u8> },
}

impl KnownHosts {
    /// Reads all lines. A key that cannot be read is one that nobody is trusted for; whatever else cannot be understood
    /// might have been a restriction, and is refused with the number of its line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let entry =
                    Entry::parse(line, number).map_err(|problem| format!("known_hosts line {number}: {problem}"));
                entries.push(entry?);
            }
        }
        Ok(Self(entries))
    }

    /// What the server at `host` (a name, or an address without brackets) and `port` may present.
    pub(super) fn expect(&self, host: &str, port: u16) -> Result<Expected, String> {
        let host = host.to_ascii_lowercase();
        let name = if port == 22 { host.clone() } else { format!("[{host}]:{port}") };
        let mut expected = Expected::new(name, host);
        let mut unreadable = None;
        for Entry { marker, key, line, .. } in self.0.iter().filter(|entry| entry.hosts.contain(&expected.name)) {
            match (marker, key) {
                (_, None) => unreadable = Some(*line),
                (Marker::None, Some(key)) => expected.keys.push((key.key_data().clone(), *line)),
                (Marker::CertAuthority, Some(key)) => expected.authorities.push(key.key_data().clone()),
                (Marker::Revoked, Some(key)) => expected.revoked.push((key.key_data().clone(), *line)),
            }
        }
        if !expected.keys.is_empty() || !expected.authorities.is_empty() {
            return Ok(expected);
        }
        let name = &expected.name;
        Err(match unreadable {
            Some(line) => format!("known_hosts has no key for {name} but one that cannot be used, in line {line}"),
            None => format!("known_hosts has no key for {name}; add those that its operator publishes"),
        })
    }
}

impl Entry {
    fn parse(line: &str, number: usize) -> Result<Self, String> {
        let mut fields = line.split_ascii_whitespace();
        let mut first = fields.next().unwrap_or_default();
        let marker = match first {
            "@cert-authority" => Marker::CertAuthority,
            "@revoked" => Marker::Revoked,
            marker if marker.starts_with('@') => {
                return Err("the marker is neither @cert-authority nor @revoked".to_owned());
            }
            _ => Marker::None,
        };
        if marker != Marker::None {
            first = fields.next().unwrap_or_default();
        }
        let (Some(kind), Some(encoded)) = (fields.next(), fields.next()) else {
            return Err("it must be: names, key type, key".to_owned());
        };
        let key = PublicKey::from_openssh(&format!("{kind} {encoded}")).ok();
        if key.is_none() && marker == Marker::Revoked {
            return Err("the revoked key cannot be read".to_owned());
        }
        Ok(Self { marker, hosts: Hosts::parse(first)?, key, line: number })
    }
}

impl Hosts {
    fn parse(field: &str) -> Result<Self, String> {
        let Some(hashed) = field.strip_prefix("|1|") else {
            if field.starts_with('|') {
                return Err("the host name is hashed in an unknown way".to_owned());
            }
            return Ok(Self::Patterns(field.split(',').map(str::to_ascii_lowercase).collect()));
        };
        let decode = |text: &str| STANDARD.decode(text).ok();
        let parts = hashed.split_once('|').and_then(|(salt, tag)| Some((decode(salt)?, decode(tag)?)));
        match parts {
            Some((salt, tag)) if tag.len() == 20 => Ok(Self::Hashed { salt, tag }),
            _ => Err("the hashed host name cannot be read".to_owned()),
        }
    }

    /// `name` in lower case, as `host` or `[host]:port`.
    fn contain(&self, name: &str) -> bool {
        match self {
            Self::Hashed { salt, tag } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, name.as_bytes(), tag).is_ok()
            }
            Self::Patterns(patterns) => {
                let fits = |pattern: &str| glob(pattern.as_bytes(), name.as_bytes());
                let excluded = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(fits);
                !excluded && patterns.iter().any(|pattern| fits(pattern))
            }
        }
    }
}

/// Whether `*` (any text) and `?` (any byte) make `text` of `pattern`.
fn glob(mut pattern: &[u8], mut text: &[u8]) -> bool {
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', rest)), _) => {
                retry = Some((rest, text));
                pattern = rest;
            }
            (Some((byte, rest)), Some((first, others))) if *byte == b'?' || byte == first => {
                (pattern, text) = (rest, others);
            }
            (None, None) => return true,
            _ => match retry {
                Some((rest, [_, others @ ..])) => {
                    retry = Some((rest, others));
                    (pattern, text) = (rest, others);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests;
