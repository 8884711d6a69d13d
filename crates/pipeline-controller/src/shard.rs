//! Which Pipelines are reconciled by which of several processes.

use std::fmt;
use std::str::FromStr;

/// Most processes that Pipelines are shared out among.
const MAX: u32 = 1024;

/// One of `of` parts of all Pipelines, the first of which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub index: u32,
    pub of: u32,
}

impl Shard {
    /// Whether a Pipeline is in this part: its 64-bit FNV-1a hash of `namespace/name`, divided by `of`, leaves `index`.
    pub fn contains(self, namespace: &str, name: &str) -> bool {
        let pipeline = namespace.bytes().chain(*b"/").chain(name.bytes());
        hash(pipeline).checked_rem(u64::from(self.of)) == Some(u64::from(self.index))
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is not one of up to {MAX} parts such as 0/4, 1/4, 2/4 or 3/4");
        let (index, of) = text.split_once('/').ok_or_else(refused)?;
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match (number(index), number(of)) {
            (Some(index), Some(of)) if index < of && of <= MAX => Ok(Self { index, of }),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// [FNV-1a](https://www.rfc-editor.org/rfc/rfc9923.html) of 64 bits.
pub(crate) fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_same_for_ever() {
        for (text, expect) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(hash(text.bytes()), expect, "{text}");
        }
        let shard = |namespace: &str, name: &str| {
            (0..4).filter(|index| Shard { index: *index, of: 4 }.contains(namespace, name)).collect::<Vec<_>>()
        };
        let known = [("default", "podinfo"), ("team-a", "podinfo"), ("team-b", "shop"), ("default", "app-1")];
        assert_eq!(known.map(|(namespace, name)| shard(namespace, name)), [vec![2], vec![2], vec![0], vec![0]]);
    }

    #[test]
    fn every_pipeline_is_in_one_part_and_parts_are_about_equal() {
        for of in [1, 2, 3, 4, 7, 16] {
            let mut sizes = vec![0_usize; usize::try_from(of).unwrap()];
            for n in 0..10_000 {
                let name = format!("app-{n}");
                let parts = (0..of).filter(|index| Shard { index: *index, of }.contains("default", &name));
                let [part] = parts.collect::<Vec<_>>()[..] else { panic!("{name} is in no part or in several") };
                sizes[usize::try_from(part).unwrap()] += 1;
            }
            let fair = 10_000 / usize::try_from(of).unwrap();
            assert!(sizes.iter().all(|size| size.abs_diff(fair) < fair / 5), "{sizes:?}");
        }
    }

    #[test]
    fn shards_as_flags() {
        let check = |text: &str, expected: Option<&str>| {
            let shard = text.parse::<Shard>().map(|shard| shard.to_string());
            assert_eq!(shard.ok().as_deref(), expected, "{text}");
        };
        check("0/1", Some("0/1"));
        check("3/4", Some("3/4"));
        for wrong in ["4/4", "1", "", "/", "0/0", "-1/4", "+1/4", "1/4/4", "1/1025", "a/b", "0/99999999999"] {
            check(wrong, None);
        }
    }
}
