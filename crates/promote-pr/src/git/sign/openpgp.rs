//! The little of [OpenPGP](https://www.rfc-editor.org/rfc/rfc9580) that signing a commit takes: reading one exported
//! private key, and writing one detached signature, both of version 4. The cryptography is `ssh-key`'s and aws-lc's.
//!
//! The complete implementations each bring an own generation of all primitives (rPGP: 95 crates, most of them beside a
//! newer version of themselves) or a licence that is not wanted here (Sequoia).

mod key;

use aws_lc_rs::digest::{Algorithm, Context, SHA256, SHA384, SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use signature::Signer as _;
use ssh_key::Mpint;
use ssh_key::encoding::{Decode as _, Reader as _};
use ssh_key::private::{EcdsaKeypair, KeypairData};

use self::key::Key;
use super::InvalidKey;

pub(super) const BEGIN_KEY: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";
const END_KEY: &str = "-----END PGP PRIVATE KEY BLOCK-----";
const ARMOR_LINE: usize = 64;

const VERSION: u8 = 4;
/// A signature of a document as it is, byte for byte.
const BINARY: u8 = 0;
const SIGNATURE_PACKET: u8 = 0xc0 | 2;
const CREATED: u8 = 2;
const ISSUER: u8 = 16;
const ISSUER_FINGERPRINT: u8 = 33;

/// The armored detached signature of `content`.
pub(super) fn sign(
    armored: &str,
    passphrase: Option<&str>,
    content: &[u8],
    when: Timestamp,
) -> Result<String, InvalidKey> {
    let key = Key::read(&dearmor(armored).ok_or(InvalidKey("is damaged"))?, passphrase)?;
    let body = signature(&key, content, when).ok_or(InvalidKey("does not sign"))?;
    let mut packet = vec![SIGNATURE_PACKET, 0xff];
    packet.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    packet.extend_from_slice(&body);
    Ok(armor(&packet))
}

fn signature(key: &Key, content: &[u8], when: Timestamp) -> Option<Vec<u8>> {
    let (hash, algorithm) = hash_of(&key.pair);
    let created = u32::try_from(when.as_second()).ok()?.max(key.created).to_be_bytes();
    let mut hashed = subpacket(CREATED, &created)?;
    hashed.extend(subpacket(ISSUER_FINGERPRINT, &[&[VERSION], key.fingerprint.as_slice()].concat())?);
    let unhashed = subpacket(ISSUER, key.fingerprint.last_chunk::<8>()?)?;

    let mut body = vec![VERSION, BINARY, key.algorithm, hash];
    body.extend(u16::try_from(hashed.len()).ok()?.to_be_bytes());
    body.extend(hashed);
    let mut signed = content.to_vec();
    signed.extend_from_slice(&body);
    signed.extend([VERSION, 0xff]);
    signed.extend(u32::try_from(body.len()).ok()?.to_be_bytes());
    let mut digest = Context::new(algorithm);
    digest.update(&signed);
    let digest = digest.finish();

    body.extend(u16::try_from(unhashed.len()).ok()?.to_be_bytes());
    body.extend(unhashed);
    body.extend_from_slice(digest.as_ref().first_chunk::<2>()?);
    match &key.pair {
        // These hash what they sign themselves; Ed25519 takes the digest for its message.
        KeypairData::Rsa(pair) => mpi(pair.try_sign(&signed).ok()?.as_bytes(), &mut body)?,
        KeypairData::Ecdsa(pair) => {
            let signature = pair.try_sign(&signed).ok()?;
            let mut reader = signature.as_bytes();
            for _ in ["r", "s"] {
                mpi(Mpint::decode(&mut reader).ok()?.as_positive_bytes()?, &mut body)?;
            }
            reader.is_finished().then_some(())?;
        }
        KeypairData::Ed25519(pair) => {
            let signature = pair.try_sign(digest.as_ref()).ok()?;
            if key.algorithm == key::ED25519 {
                body.extend_from_slice(signature.as_bytes());
            } else {
                let (r, s) = signature.as_bytes().split_at_checked(32)?;
                mpi(r, &mut body)?;
                mpi(s, &mut body)?;
            }
        }
        _ => return None,
    }
    Some(body)
}

/// The number and the function of the hash that goes with a key.
fn hash_of(pair: &KeypairData) -> (u8, &'static Algorithm) {
    match pair {
        KeypairData::Ecdsa(EcdsaKeypair::NistP256 { .. }) => (8, &SHA256),
        KeypairData::Ecdsa(EcdsaKeypair::NistP384 { .. }) => (9, &SHA384),
        _ => (10, &SHA512),
    }
}

fn subpacket(kind: u8, content: &[u8]) -> Option<Vec<u8>> {
    let mut subpacket = vec![u8::try_from(content.len()).ok()?.checked_add(1).filter(|length| *length < 192)?, kind];
    subpacket.extend_from_slice(content);
    Some(subpacket)
}

/// Writes [a number](https://www.rfc-editor.org/rfc/rfc9580#name-multiprecision-integers): its length in bits, its bytes.
fn mpi(number: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let number = number.get(start..)?;
    let unused = number.first().map_or(0, |byte| byte.leading_zeros());
    let bits = u32::try_from(number.len()).ok()?.checked_mul(8)?.checked_sub(unused)?;
    out.extend(u16::try_from(bits).ok()?.to_be_bytes());
    out.extend_from_slice(number);
    Some(())
}

/// The packets of an [armored](https://www.rfc-editor.org/rfc/rfc9580#name-forming-ascii-armor) key.
fn dearmor(text: &str) -> Option<Vec<u8>> {
    let inside = text.strip_prefix(BEGIN_KEY)?.split_once(END_KEY)?.0;
    let mut lines = inside.lines().skip(1).map(str::trim).skip_while(|line| line.contains(": "));
    let mut encoded = String::new();
    while let Some(line) = lines.next().filter(|line| !line.starts_with('=')) {
        encoded.push_str(line);
    }
    STANDARD.decode(encoded).ok()
}

fn armor(packets: &[u8]) -> String {
    let mut text = "-----BEGIN PGP SIGNATURE-----\n\n".to_owned();
    for (at, c) in STANDARD.encode(packets).chars().enumerate() {
        if at > 0 && at % ARMOR_LINE == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    let [_, checksum @ ..] = crc24(packets).to_be_bytes();
    text.push_str(&format!("\n={}\n-----END PGP SIGNATURE-----\n", STANDARD.encode(checksum)));
    text
}

/// The [checksum](https://www.rfc-editor.org/rfc/rfc9580#name-an-implementation-of-the-cr) that older readers want.
fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 16), |crc, _| {
            let shifted = crc << 1;
            if shifted & 0x0100_0000 == 0 { shifted } else { shifted ^ 0x0186_4cfb }
        })
    })
}
