//! Reads an exported private key.

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA224, SHA256, SHA384, SHA512};
use aws_lc_rs::iv::{FixedLength, IV_LEN_128_BIT};
use ssh_key::Mpint;
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, Ed25519PrivateKey, KeypairData, RsaKeypair, RsaPrivateKey};
use ssh_key::public::RsaPublicKey;

use super::super::InvalidKey;

const RSA: u8 = 1;
const ECDSA: u8 = 19;
const EDDSA: u8 = 22;
pub(super) const ED25519: u8 = 27;

const SECRET_KEY: u8 = 5;
const SECRET_SUBKEY: u8 = 7;
const SIGNATURE: u8 = 2;

const SUBKEY_BINDING: u8 = 0x18;
const SUBKEY_REVOCATION: u8 = 0x28;
const KEY_FLAGS: u8 = 27;
const MAY_SIGN: u8 = 2;

const DAMAGED: InvalidKey = InvalidKey("is damaged");

/// A key that signs.
pub(super) struct Key {
    pub(super) algorithm: u8,
    /// When it was made, in seconds since 1970.
    pub(super) created: u32,
    pub(super) fingerprint: [u8; 20],
    pub(super) pair: KeypairData,
}

impl Key {
    /// The last subkey that may sign and is not revoked, else the primary key.
    pub(super) fn read(packets: &[u8], passphrase: Option<&str>) -> Result<Self, InvalidKey> {
        let mut rest = packets;
        let mut chosen = None;
        let mut subkey = None;
        while !rest.is_empty() {
            let (tag, body) = packet(&mut rest).ok_or(DAMAGED)?;
            match tag {
                SECRET_KEY if chosen.is_none() => chosen = Some(body),
                SECRET_KEY => break,
                SECRET_SUBKEY => subkey = Some((body, chosen)),
                SIGNATURE => match (subkey, binding(body)) {
                    (Some((key, _)), Some(Binding::Signs)) => chosen = Some(key),
                    (Some((_, before)), Some(Binding::Revoked)) => chosen = before,
                    _ => {}
                },
                _ => {}
            }
        }
        secret_key(chosen.ok_or(InvalidKey("holds no private key"))?, passphrase)
    }
}

enum Binding {
    Signs,
    Revoked,
}

/// What a signature of version 4 says about the subkey before it.
fn binding(body: &[u8]) -> Option<Binding> {
    let mut rest = body;
    let [version, kind, _algorithm, _hash] = *array(&mut rest)?;
    if version != 4 {
        return None;
    }
    if kind == SUBKEY_REVOCATION {
        return Some(Binding::Revoked);
    }
    let length = usize::from(u16::from_be_bytes(*array(&mut rest)?));
    let mut subpackets = take(&mut rest, length)?;
    while kind == SUBKEY_BINDING && !subpackets.is_empty() {
        let length = length_of(&mut subpackets)?;
        let (kind, content) = take(&mut subpackets, length)?.split_first()?;
        if kind & 0x7f == KEY_FLAGS && content.first().is_some_and(|flags| flags & MAY_SIGN != 0) {
            return Some(Binding::Signs);
        }
    }
    None
}

/// Reads a [private key packet](https://www.rfc-editor.org/rfc/rfc9580#name-secret-key-packet-formats).
fn secret_key(body: &[u8], passphrase: Option<&str>) -> Result<Key, InvalidKey> {
    let mut rest = body;
    let [version, created @ .., algorithm] = *array::<6>(&mut rest).ok_or(DAMAGED)?;
    if version != 4 {
        return Err(InvalidKey("is not of version 4"));
    }
    let public = Public::read(algorithm, &mut rest)?;
    let length = body.len().checked_sub(rest.len()).ok_or(DAMAGED)?;
    let public_packet = body.get(..length).ok_or(DAMAGED)?;
    let mut hash = digest::Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(&[0x99]);
    hash.update(&u16::try_from(length).map_err(|_too_long| DAMAGED)?.to_be_bytes());
    hash.update(public_packet);
    let fingerprint = hash.finish().as_ref().try_into().map_err(|_length| DAMAGED)?;

    let secret = open(&mut rest, passphrase)?;
    let pair = public.with_secret(&secret).ok_or(DAMAGED)?;
    Ok(Key { algorithm, created: u32::from_be_bytes(created), fingerprint, pair })
}

/// The public part of a key.
enum Public<'a> {
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
    Ecdsa {
        point: &'a [u8],
    },
    /// Its secret is a number.
    EdDsa,
    /// Its secret is 32 bytes.
    Ed25519,
}

impl<'a> Public<'a> {
    fn read(algorithm: u8, rest: &mut &'a [u8]) -> Result<Self, InvalidKey> {
        const ED25519_CURVE: [u8; 9] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
        let mut read = || {
            Some(match algorithm {
                RSA => Self::Rsa { n: number(rest)?, e: number(rest)? },
                ECDSA | EDDSA => {
                    let length = take(rest, 1)?.first().copied().map(usize::from)?;
                    let curve = take(rest, length)?;
                    let point = number(rest)?;
                    match algorithm {
                        ECDSA => Self::Ecdsa { point },
                        _ if curve == ED25519_CURVE => Self::EdDsa,
                        _ => return None,
                    }
                }
                ED25519 => {
                    take(rest, 32)?;
                    Self::Ed25519
                }
                _ => return None,
            })
        };
        read().ok_or(InvalidKey("is not an Ed25519, ECDSA (NIST curves) or RSA key, or is damaged"))
    }

    fn with_secret(&self, mut secret: &[u8]) -> Option<KeypairData> {
        let rest = &mut secret;
        Some(match self {
            Self::Rsa { n, e } => {
                let [d, p, q, u] =
                    [number(rest)?, number(rest)?, number(rest)?, number(rest)?].map(Mpint::from_positive_bytes);
                let [e, n] = [e, n].map(|number| Mpint::from_positive_bytes(number));
                // OpenPGP keeps the inverse of p modulo q, SSH that of q modulo p.
                let private = RsaPrivateKey::new(d, u, q, p).ok()?;
                KeypairData::Rsa(RsaKeypair::new(RsaPublicKey::new(e, n).ok()?, private).ok()?)
            }
            Self::Ecdsa { point } => {
                let secret = number(rest)?;
                KeypairData::Ecdsa(match point.len() {
                    65 => EcdsaKeypair::NistP256 {
                        public: ssh_key::sec1::EncodedPoint::from_bytes(point).ok()?,
                        private: padded::<32>(secret)?.into(),
                    },
                    97 => EcdsaKeypair::NistP384 {
                        public: ssh_key::sec1::EncodedPoint::from_bytes(point).ok()?,
                        private: padded::<48>(secret)?.into(),
                    },
                    133 => EcdsaKeypair::NistP521 {
                        public: ssh_key::sec1::EncodedPoint::from_bytes(point).ok()?,
                        private: padded::<66>(secret)?.into(),
                    },
                    _ => return None,
                })
            }
            Self::EdDsa => ed25519(&padded(number(rest)?)?),
            Self::Ed25519 => ed25519(array(rest)?),
        })
    }
}

fn ed25519(secret: &[u8; 32]) -> KeypairData {
    let private = Ed25519PrivateKey::from_bytes(secret);
    KeypairData::Ed25519(Ed25519Keypair { public: (&private).into(), private })
}

/// The secret numbers of a key, decrypted.
fn open(rest: &mut &[u8], passphrase: Option<&str>) -> Result<Vec<u8>, InvalidKey> {
    const OPEN: u8 = 0;
    const SHA1_CHECKED: u8 = 254;
    const WRONG: InvalidKey = InvalidKey("does not open with the passphrase");
    let usage = take(rest, 1).and_then(<[u8]>::first).ok_or(DAMAGED)?;
    match *usage {
        OPEN => Ok(rest.to_vec()),
        SHA1_CHECKED => {
            let cipher = take(rest, 1).and_then(<[u8]>::first).ok_or(DAMAGED)?;
            let (cipher, length) = match cipher {
                7 => (&AES_128, 16),
                8 => (&AES_192, 24),
                9 => (&AES_256, 32),
                _ => return Err(InvalidKey("is encrypted, but not with AES")),
            };
            let stretch = Stretch::read(rest)?;
            let passphrase = passphrase.ok_or(InvalidKey("is encrypted, and there is no passphrase"))?;
            let iv: &[u8; IV_LEN_128_BIT] = array(rest).ok_or(DAMAGED)?;
            let mut content = rest.to_vec();
            let mut decrypt = || {
                let key = UnboundCipherKey::new(cipher, &stretch.key(passphrase, length)?).ok()?;
                let context = DecryptionContext::Iv128(FixedLength::from(iv));
                let plain = DecryptingKey::cfb128(key).ok()?.decrypt(&mut content, context).ok()?;
                let (secret, checksum) = plain.split_at_checked(plain.len().checked_sub(20)?)?;
                (digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, secret).as_ref() == checksum).then(|| secret.to_vec())
            };
            decrypt().ok_or(WRONG)
        }
        _ => Err(InvalidKey("is protected in a way that is not supported; export it with GnuPG 2.2 or later")),
    }
}

/// How a passphrase [becomes a key](https://www.rfc-editor.org/rfc/rfc9580#name-string-to-key-s2k-specifier).
struct Stretch {
    hash: &'static digest::Algorithm,
    salt: Vec<u8>,
    /// How many bytes are hashed.
    count: usize,
}

impl Stretch {
    fn read(rest: &mut &[u8]) -> Result<Self, InvalidKey> {
        let [kind, hash] = *array(rest).ok_or(DAMAGED)?;
        let hash = match hash {
            2 => &SHA1_FOR_LEGACY_USE_ONLY,
            8 => &SHA256,
            9 => &SHA384,
            10 => &SHA512,
            11 => &SHA224,
            _ => return Err(InvalidKey("is encrypted with a hash that is not supported")),
        };
        match kind {
            0 => Ok(Self { hash, salt: Vec::new(), count: 0 }),
            1 => Ok(Self { hash, salt: take(rest, 8).ok_or(DAMAGED)?.to_vec(), count: 0 }),
            3 => {
                let salt = take(rest, 8).ok_or(DAMAGED)?.to_vec();
                let coded = take(rest, 1).and_then(<[u8]>::first).ok_or(DAMAGED)?;
                let count = (16 + usize::from(coded & 15)) << (usize::from(coded >> 4) + 6);
                Ok(Self { hash, salt, count })
            }
            101 => Err(InvalidKey("is a stub: its secret part is on a card or was not exported")),
            _ => Err(InvalidKey("is encrypted in a way that is not supported")),
        }
    }

    fn key(&self, passphrase: &str, length: usize) -> Option<Vec<u8>> {
        let salted = [self.salt.as_slice(), passphrase.as_bytes()].concat();
        let mut key = Vec::new();
        let mut zeros = Vec::new();
        while key.len() < length {
            let mut hash = digest::Context::new(self.hash);
            hash.update(&zeros);
            let mut left = self.count.max(salted.len());
            while left > 0 && !salted.is_empty() {
                let part = salted.get(..left.min(salted.len()))?;
                hash.update(part);
                left = left.checked_sub(part.len())?;
            }
            key.extend_from_slice(hash.finish().as_ref());
            zeros.push(0);
        }
        key.truncate(length);
        Some(key)
    }
}

/// Tag and body of the next [packet](https://www.rfc-editor.org/rfc/rfc9580#name-packet-headers).
fn packet<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let head = *take(rest, 1)?.first()?;
    let (tag, length) = match head {
        0xc0.. => (head & 0x3f, length_of(rest)?),
        0x80.. => {
            let length = match head & 3 {
                0 => usize::from(*take(rest, 1)?.first()?),
                1 => usize::from(u16::from_be_bytes(*array(rest)?)),
                2 => usize::try_from(u32::from_be_bytes(*array(rest)?)).ok()?,
                _ => rest.len(),
            };
            ((head >> 2) & 15, length)
        }
        _ => return None,
    };
    Some((tag, take(rest, length)?))
}

/// The length of a packet of the current format, or of a subpacket.
fn length_of(rest: &mut &[u8]) -> Option<usize> {
    match *take(rest, 1)?.first()? {
        short @ 0..192 => Some(usize::from(short)),
        first @ 192..224 => {
            let second = *take(rest, 1)?.first()?;
            Some(((usize::from(first) - 192) << 8) + usize::from(second) + 192)
        }
        255 => usize::try_from(u32::from_be_bytes(*array(rest)?)).ok(),
        _ => None,
    }
}

/// Reads a number without its leading zeros.
fn number<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bits = usize::from(u16::from_be_bytes(*array(rest)?));
    take(rest, bits.div_ceil(8))
}

fn padded<const N: usize>(number: &[u8]) -> Option<[u8; N]> {
    let mut padded = [0; N];
    let start = N.checked_sub(number.len())?;
    padded.get_mut(start..)?.copy_from_slice(number);
    Some(padded)
}

fn array<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (array, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(array)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}
