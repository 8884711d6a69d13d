//! Signs commits, with an SSH key or an OpenPGP key.

mod openpgp;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use ssh_key::private::KeypairData;
use ssh_key::{HashAlg, Kdf, LineEnding, PrivateKey};

/// The name space of [git's SSH signatures](https://git-scm.com/docs/gitformat-signature).
const NAMESPACE: &str = "git";
/// The most work that a passphrase may cost; `ssh-keygen` takes 24 rounds unless it is told otherwise.
const MAX_ROUNDS: u32 = 1000;

/// A private key that commits are signed with. The secrets do not show in `Debug`.
///
/// An SSH key is Ed25519, ECDSA (P-256, P-384, P-521) or RSA, in OpenSSH's own format. An OpenPGP key is an armored
/// export of version 4 with the same algorithms; if it has subkeys for signing, the last one that is not revoked signs.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// `-----BEGIN OPENSSH PRIVATE KEY-----` or `-----BEGIN PGP PRIVATE KEY BLOCK-----`, with what follows.
    pub key: SecretString,
    /// The passphrase of an encrypted key.
    pub passphrase: Option<SecretString>,
}

/// Why a signing key cannot be used. It repeats nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key {0}")]
pub struct InvalidKey(&'static str);

impl SigningKey {
    /// The armored signature of `content`, made at `when`.
    ///
    /// # Errors
    /// The key or its passphrase is not usable.
    pub(super) fn sign(&self, content: &[u8], when: Timestamp) -> Result<String, InvalidKey> {
        let text = self.key.expose_secret().trim();
        let passphrase = self.passphrase.as_ref().map(|passphrase| passphrase.expose_secret());
        if text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
            sign_as_ssh(text, passphrase, content)
        } else if text.starts_with(openpgp::BEGIN_KEY) {
            openpgp::sign(text, passphrase, content, when)
        } else {
            Err(InvalidKey("is neither an OpenSSH private key nor an armored OpenPGP private key"))
        }
    }
}

fn sign_as_ssh(text: &str, passphrase: Option<&str>, content: &[u8]) -> Result<String, InvalidKey> {
    let mut key = PrivateKey::from_openssh(text).map_err(|_damaged| InvalidKey("is damaged"))?;
    if key.is_encrypted() {
        if matches!(key.kdf(), Kdf::Bcrypt { rounds, .. } if *rounds > MAX_ROUNDS) {
            return Err(InvalidKey("is encrypted with more than 1000 rounds"));
        }
        let passphrase = passphrase.ok_or(InvalidKey("is encrypted, and there is no passphrase"))?;
        key = key.decrypt(passphrase).map_err(|_wrong| InvalidKey("does not open with the passphrase"))?;
    }
    if !matches!(key.key_data(), KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) | KeypairData::Rsa(_)) {
        return Err(InvalidKey("is not an Ed25519, ECDSA or RSA key"));
    }
    let signature =
        key.sign(NAMESPACE, HashAlg::Sha512, content).and_then(|signature| signature.to_pem(LineEnding::LF));
    signature.map_err(|_refused| InvalidKey("does not sign"))
}

#[cfg(test)]
mod tests;
