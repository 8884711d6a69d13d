//! Ports for servers that cannot be told to pick one themselves.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result};

/// How often a server is started anew because somebody else took its port first.
const ATTEMPTS: usize = 5;

/// Below the ports that systems hand to outgoing connections (Linux from 32768, IANA from 49152), so that no
/// connection takes one between [`free`] and the start of the server that it is for.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// A loopback port that was free a moment ago; the same process gets another one every time.
pub fn free() -> Result<u16> {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let [low, high, ..] = RandomState::new().hash_one(std::process::id()).to_le_bytes();
        AtomicU16::new(u16::from_le_bytes([low, high]))
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(is_free)
        .context("no loopback port is free")
}

/// Runs `start`, which takes ports from [`free`], and runs it again when its error says that a port was taken since.
pub async fn retry_in_use<T>(mut start: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match start().await {
            Err(error) if format!("{error:#}").to_lowercase().contains("address already in use") => {}
            other => return other,
        }
    }
    start().await
}
