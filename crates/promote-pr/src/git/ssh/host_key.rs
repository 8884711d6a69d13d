//! Whether a server's key or certificate is one that we trust.

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use russh::keys::{Certificate, PublicKeyOrCertificate};

/// What one server may present.
pub(super) struct Expected {
    /// `host` or `[host]:port`, in lower case.
    pub(super) name: String,
    /// The host alone, which certificates are made out to.
    pub(super) host: String,
    /// Its keys, each with its line in the known hosts.
    pub(super) keys: Vec<(KeyData, usize)>,
    /// Who may sign its certificates.
    pub(super) authorities: Vec<KeyData>,
    /// Keys that are not trusted in any role, each with its line.
    pub(super) revoked: Vec<(KeyData, usize)>,
}

impl Expected {
    pub(super) fn new(name: String, host: String) -> Self {
        Self { name, host, keys: Vec::new(), authorities: Vec::new(), revoked: Vec::new() }
    }

    /// The algorithms to offer for plain keys: those of the known keys only, or a server with several keys would present
    /// one that is not known. RSA signs with SHA-2 only.
    pub(super) fn key_algorithms(&self) -> Vec<Algorithm> {
        let known: Vec<_> = self.keys.iter().map(|(key, _)| key.algorithm()).collect();
        match offered().filter(|offered| known.iter().any(|known| same_kind(known, offered))).collect::<Vec<_>>() {
            // The protocol needs some; the certificates' own are offered before these, and a plain key is refused.
            none if none.is_empty() => self.certificate_algorithms(),
            some => some,
        }
    }

    /// The algorithms to offer for certificates: any that we can verify.
    pub(super) fn certificate_algorithms(&self) -> Vec<Algorithm> {
        if self.authorities.is_empty() { Vec::new() } else { offered().collect() }
    }

    /// Whether what the server presents is trusted at `now`, in seconds since 1970.
    ///
    /// That the server holds the private key has been verified before.
    pub(super) fn check(&self, presented: &PublicKeyOrCertificate, now: u64) -> Result<(), String> {
        match presented {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.check_not_revoked(key.key_data())?;
                if self.keys.iter().any(|(known, _)| known == key.key_data()) {
                    return Ok(());
                }
                let (name, presented) = (&self.name, fingerprint(key.key_data()));
                let lines: Vec<_> = self.keys.iter().map(|(_, line)| line.to_string()).collect();
                Err(if lines.is_empty() {
                    format!("{name} presented the plain key {presented}, but known_hosts has only an authority for it")
                } else {
                    format!(
                        "{name} presented the key {presented}, but known_hosts has others, in line {}: the key was \
                         changed, or somebody is in between",
                        lines.join(", ")
                    )
                })
            }
            PublicKeyOrCertificate::Certificate(certificate) => self.check_certificate(certificate, now),
        }
    }

    fn check_not_revoked(&self, key: &KeyData) -> Result<(), String> {
        match self.revoked.iter().find(|(revoked, _)| revoked == key) {
            Some((_, line)) => {
                Err(format!("known_hosts line {line} revokes the key {} of {}", fingerprint(key), self.name))
            }
            None => Ok(()),
        }
    }

    /// The rules of [OpenSSH's certificates](https://cvsweb.openbsd.org/cgi-bin/cvsweb/src/usr.bin/ssh/PROTOCOL.certkeys);
    /// a certificate without principals, which would fit every host, is refused.
    fn check_certificate(&self, certificate: &Certificate, now: u64) -> Result<(), String> {
        let authority = certificate.signature_key();
        self.check_not_revoked(certificate.public_key())?;
        self.check_not_revoked(authority)?;
        let with_sha1 = matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None });
        let names_host = |principal: &String| principal.eq_ignore_ascii_case(&self.host);
        let problem = if certificate.cert_type() != CertType::Host {
            "is not one for hosts"
        } else if !self.authorities.contains(authority) {
            "is signed by an authority that known_hosts does not have for it"
        } else if with_sha1 {
            "is signed with SHA-1"
        } else if !certificate.critical_options().is_empty() {
            "has an unknown critical option"
        } else if !certificate.valid_principals().iter().any(names_host) {
            "is made out to other names"
        } else if certificate.validate_at(now, [&authority.fingerprint(HashAlg::Sha256)]).is_err() {
            "is not valid now, or its signature is wrong"
        } else {
            return Ok(());
        };
        Err(format!("the certificate of {} {problem}", self.name))
    }
}

/// The algorithms that we can verify, the best first. Never `ssh-rsa`, which is RSA with SHA-1.
fn offered() -> impl Iterator<Item = Algorithm> {
    let ecdsa = [EcdsaCurve::NistP256, EcdsaCurve::NistP384, EcdsaCurve::NistP521];
    let rsa = [HashAlg::Sha512, HashAlg::Sha256];
    [Algorithm::Ed25519]
        .into_iter()
        .chain(ecdsa.map(|curve| Algorithm::Ecdsa { curve }))
        .chain(rsa.map(|hash| Algorithm::Rsa { hash: Some(hash) }))
}

fn same_kind(one: &Algorithm, other: &Algorithm) -> bool {
    one == other || matches!((one, other), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
