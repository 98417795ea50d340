//! A proxy that sees bytes only: it passes them, swallows them without a word, or hangs up.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of bytes and of new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    Pass,
    /// They are taken and go nowhere, in both directions, on old and new connections alike. A connection that lost bytes stays
    /// so when the mode changes: its ends wait for what never comes, as behind a router that forgot it.
    Swallow,
    /// Every connection is closed, old and new.
    HangUp,
}

/// A running proxy; it stops when it is dropped.
pub struct Wire {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    accepting: JoinHandle<()>,
}

// === impl Wire ===

impl Wire {
    /// Starts a proxy to the server at `upstream` (`host:port`) that passes everything, on the current runtime.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, upstream) = (listener.local_addr().unwrap(), upstream.to_owned());
        let mode = watch::Sender::new(Mode::Pass);
        let modes = mode.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, upstream.clone(), modes.subscribe()));
            }
        });
        Self { address, mode, accepting }
    }

    /// `host:port` where it answers.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connection(near: TcpStream, upstream: String, mut modes: watch::Receiver<Mode>) {
    let first = *modes.borrow();
    let far = match first {
        Mode::HangUp => return,
        Mode::Swallow => None,
        Mode::Pass => TcpStream::connect(&upstream).await.ok(),
    };
    let hung_up = modes.clone();
    let Some(far) = far else {
        if first == Mode::Swallow {
            swallow(near, &mut modes).await;
        }
        return;
    };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        () = pump(near_read, far_write, modes.clone()) => {}
        () = pump(far_read, near_write, modes) => {}
        () = hang_up(hung_up) => {}
    }
}

/// Takes everything until the other end lets go.
async fn swallow(mut near: TcpStream, modes: &mut watch::Receiver<Mode>) {
    let mut buffer = [0; 4_096];
    loop {
        tokio::select! {
            read = near.read(&mut buffer) => if !matches!(read, Ok(1..)) { return },
            () = hang_up(modes.clone()) => return,
        }
    }
}

async fn hang_up(mut modes: watch::Receiver<Mode>) {
    if modes.wait_for(|mode| *mode == Mode::HangUp).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// One direction. Once bytes were swallowed, all are.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, modes: watch::Receiver<Mode>) {
    let (mut buffer, mut is_broken) = (vec![0; 16_384], false);
    loop {
        let Ok(count) = from.read(&mut buffer).await else { return };
        is_broken |= *modes.borrow() == Mode::Swallow;
        match (count, is_broken) {
            // The end of one side is a byte that is swallowed too.
            (0, true) => return std::future::pending().await,
            (0, false) => return,
            (_, true) => {}
            (count, false) => {
                if to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
