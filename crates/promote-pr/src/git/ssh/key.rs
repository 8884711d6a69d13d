//! The private key, from text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::{Algorithm, Kdf};

/// The shortest RSA key that is used, in bits.
const MIN_RSA_BITS: u32 = 2048;
/// The most rounds of bcrypt that a key may ask for; `ssh-keygen` makes keys with 16 or 24.
const MAX_ROUNDS: u32 = 1000;

/// Reads a key, and decrypts it if it is encrypted, which takes a tenth of a second of computing.
///
/// The text of errors repeats nothing of the key.
pub(super) fn parse(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, String> {
    let lines: Vec<&str> = text.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN ")).collect();
    let label = lines.first().and_then(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let key = match label {
        Some("OPENSSH PRIVATE KEY") => {
            let body: String = lines.iter().skip(1).take_while(|line| !line.starts_with('-')).copied().collect();
            let bytes = STANDARD.decode(body).map_err(|_error| unreadable())?;
            decrypt(PrivateKey::from_bytes(&bytes).map_err(|_error| unreadable())?, passphrase)?
        }
        Some("RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY") => {
            let encrypted = lines.iter().any(|line| line.starts_with("Proc-Type:") && line.ends_with("ENCRYPTED"));
            let passphrase = if encrypted { Some(passphrase.ok_or_else(no_passphrase)?) } else { None };
            russh::keys::decode_secret_key(&lines.join("\n"), passphrase).map_err(|_error| match encrypted {
                true => "the passphrase does not fit the private key, or it is not encrypted with AES-128".to_owned(),
                false => unreadable(),
            })?
        }
        Some("ENCRYPTED PRIVATE KEY") => {
            return Err("the private key is encrypted as PKCS#8: rewrite it with `ssh-keygen -p -f FILE`".to_owned());
        }
        Some("PUBLIC KEY" | "RSA PUBLIC KEY") => return Err(PUBLIC.to_owned()),
        _ if ["ssh-", "ecdsa-"].iter().any(|kind| text.trim_start().starts_with(kind)) => {
            return Err(PUBLIC.to_owned());
        }
        _ if text.starts_with("PuTTY-User-Key-File-") => {
            return Err("the private key is PuTTY's: export it as an OpenSSH key".to_owned());
        }
        _ => return Err("the private key is not in OpenSSH's format or in PEM".to_owned()),
    };
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(key),
        Algorithm::Rsa { .. } => match key.public_key().key_data().rsa().map(|rsa| rsa.key_size()) {
            Some(bits) if bits >= MIN_RSA_BITS => Ok(key),
            _ => Err(format!("the private key is RSA with fewer than {MIN_RSA_BITS} bits; make an Ed25519 key")),
        },
        other => Err(format!("the private key is of type {other}; make an Ed25519 key")),
    }
}

const PUBLIC: &str = "there is a public key where the private one belongs";

fn unreadable() -> String {
    "the private key cannot be read".to_owned()
}

fn no_passphrase() -> String {
    "the private key is encrypted, and there is no passphrase for it".to_owned()
}

fn decrypt(key: PrivateKey, passphrase: Option<&str>) -> Result<PrivateKey, String> {
    if !key.is_encrypted() {
        return Ok(key);
    }
    if let Kdf::Bcrypt { rounds, .. } = key.kdf()
        && *rounds > MAX_ROUNDS
    {
        return Err(format!("the private key asks for {rounds} rounds of bcrypt; {MAX_ROUNDS} are the most"));
    }
    let passphrase = passphrase.ok_or_else(no_passphrase)?;
    key.decrypt(passphrase).map_err(|_error| "the passphrase does not fit the private key".to_owned())
}

#[cfg(test)]
mod tests;
