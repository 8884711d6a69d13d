//! A TCP connection that breaks in the middle.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
};

/// Where each connection breaks.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// After so many bytes from the server.
    pub down: usize,
    /// After so many bytes to the server.
    pub up: usize,
    /// What happens then.
    pub then: Then,
}

impl Cut {
    /// Nowhere.
    pub const NEVER: Self = Self { down: usize::MAX, up: usize::MAX, then: Then::Close };
}

/// What becomes of a connection that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Both ends are closed.
    Close,
    /// It stays open, and nothing comes through in that direction any more.
    Stall,
}

/// A loopback port that leads to another one; it closes when this is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    /// On `127.0.0.1`.
    pub port: u16,
    task: JoinHandle<()>,
    cut: Arc<Notify>,
    hangs: watch::Sender<bool>,
}

impl TcpProxy {
    /// Passes connections on to the loopback port `to`, each until it breaks.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(to: u16, cut: Cut) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let now = Arc::new(Notify::new());
        let told = Arc::clone(&now);
        let (hangs, hanging) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((client, _)) = listener.accept() => drop(connections.spawn(pass(client, to, cut, hanging.clone()))),
                    () = told.notified() => connections.shutdown().await,
                }
            }
        });
        Ok(Self { port, task, cut: now, hangs })
    }

    /// Closes the connections that are there.
    pub fn cut(&self) {
        self.cut.notify_one();
    }

    /// From now on, nothing comes through in either direction, and no connection is closed; or all goes on.
    pub fn hang(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, to: u16, cut: Cut, hanging: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
        return;
    };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = copy(from_server, to_client, cut.down, cut.then, hanging.clone()) => {}
        () = copy(from_client, to_server, cut.up, cut.then, hanging.clone()) => {}
    }
}

/// Ends when the connection is to be closed.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut left: usize,
    then: Then,
    mut hanging: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if hanging.wait_for(|hanging| !hanging).await.is_err() {
            return;
        }
        let passed = buffer.get(..length.min(left)).unwrap_or_default();
        if to.write_all(passed).await.is_err() {
            return;
        }
        left -= passed.len();
        if left == 0 {
            match then {
                Then::Close => return,
                Then::Stall => std::future::pending().await,
            }
        }
    }
}
