//! Whether a binary runs where there is nothing but the kernel.

use anyhow::{Context as _, ensure};

use super::Arch;

/// The program header of a dynamic loader's path.
const PT_INTERP: u32 = 3;

/// # Errors
/// The binary is for another architecture, or asks for a dynamic loader, and with it for libraries.
/// <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html>
pub(super) fn check_static(binary: &[u8], arch: Arch) -> anyhow::Result<()> {
    // Class, byte order and version: 64 bits, little-endian, the only one.
    ensure!(binary.starts_with(b"\x7fELF\x02\x01\x01"), "is no little-endian ELF file of 64 bits");
    let machine = match arch {
        Arch::Amd64 => 62,
        Arch::Arm64 => 183,
    };
    ensure!(number::<2>(binary, 18)? == machine, "is not for {}", arch.name());
    let (offset, size, count) = (number::<8>(binary, 32)?, number::<2>(binary, 54)?, number::<2>(binary, 56)?);
    ensure!(count > 0, "has no program headers");
    for index in 0..count {
        let at = usize::try_from(index * size + offset)?;
        ensure!(number::<4>(binary, at)? != u64::from(PT_INTERP), "is linked dynamically");
    }
    Ok(())
}

fn number<const N: usize>(binary: &[u8], at: usize) -> anyhow::Result<u64> {
    let bytes = binary.get(at..).and_then(|rest| rest.first_chunk::<N>()).context("is cut short")?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
