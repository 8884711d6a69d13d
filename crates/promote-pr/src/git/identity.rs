use std::fmt;

use secrecy::SecretString;

/// Who we are over SSH, and which servers we trust. Its values do not show in `Debug`.
#[derive(Clone)]
pub struct SshIdentity {
    /// The private key as text: OpenSSH's own format, or PKCS#1, PKCS#8 or SEC1 in PEM. Ed25519, ECDSA (NIST P-256,
    /// P-384, P-521), or RSA of at least 2048 bits, which signs with SHA-2.
    pub private_key: SecretString,
    /// What decrypts the private key, if it is encrypted: in OpenSSH's format, or in PKCS#1 with AES-128.
    pub passphrase: Option<SecretString>,
    /// The servers' keys, as in [OpenSSH's file](https://man.openbsd.org/sshd.8#SSH_KNOWN_HOSTS_FILE_FORMAT): names,
    /// wildcards, negations, hashed names, `[host]:port`, `@cert-authority` and `@revoked`.
    ///
    /// A server that listens on another port than 22 needs a line with `[host]:port`: a line for the host alone, which
    /// OpenSSH would fall back to, does not do. Nothing is ever trusted on first use.
    pub known_hosts: String,
}

impl fmt::Debug for SshIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshIdentity").field("passphrase", &self.passphrase.is_some()).finish_non_exhaustive()
    }
}
