//! Ports for servers that cannot be told to pick one themselves.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};

/// How often a server is started anew because somebody else took its port first.
const ATTEMPTS: usize = 5;

/// A loopback port that was free a moment ago.
pub fn free() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free loopback port")?;
    Ok(listener.local_addr()?.port())
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
