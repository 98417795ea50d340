//! Loopback connections that a fault can cut before an answer leaves.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Pause after a failed accept (out of file descriptors), as long as axum's own listener waits.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Longest TLS handshake: two round trips on loopback, and room for a busy machine.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Connections that are let in: plain ones at once, TLS ones after their handshake.
pub(super) struct Listener {
    tcp: TcpListener,
    acceptor: Option<TlsAcceptor>,
    handshakes: FuturesUnordered<Handshake>,
    connections: Connections,
}

/// A handshake on its way; `None` when it failed.
type Handshake = BoxFuture<'static, Option<(Stream, SocketAddr)>>;

/// How many connections were accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<AtomicU64>);

/// Cuts the connection a request came on: every later read or write of the server fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

/// One accepted connection.
pub(super) struct Stream {
    wire: Wire,
    cut: Cut,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Calls a method of whatever the wire is.
macro_rules! on_wire {
    ($stream:expr, $wire:ident => $call:expr) => {
        match &mut $stream.wire {
            Wire::Plain($wire) => $call,
            Wire::Tls($wire) => $call,
        }
    };
}

// === impl Connections ===

impl Connections {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Listener ===

impl Listener {
    pub(super) fn new(tcp: TcpListener, acceptor: Option<TlsAcceptor>, connections: Connections) -> Self {
        Self { tcp, acceptor, handshakes: FuturesUnordered::new(), connections }
    }

    /// Begins what has to happen on a new connection before requests can come.
    fn greet(&self, tcp: TcpStream, peer: SocketAddr) -> Handshake {
        self.connections.0.fetch_add(1, Ordering::Relaxed);
        // Answers are one small segment: without this each waits for the peer's delayed ack.
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY");
        }
        let cut = Cut::default();
        let Some(acceptor) = self.acceptor.clone() else {
            return Box::pin(async move { Some((Stream { wire: Wire::Plain(tcp), cut }, peer)) });
        };
        Box::pin(async move {
            match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(tcp)).await {
                Ok(Ok(tls)) => Some((Stream { wire: Wire::Tls(Box::new(tls)), cut }, peer)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS was not agreed upon");
                    None
                }
                Err(_) => None,
            }
        })
    }
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            tokio::select! {
                Some(greeted) = self.handshakes.next(), if !self.handshakes.is_empty() => {
                    if let Some(connection) = greeted {
                        return connection;
                    }
                }
                accepted = self.tcp.accept() => match accepted {
                    Ok((tcp, peer)) => self.handshakes.push(self.greet(tcp, peer)),
                    Err(error) => {
                        tracing::warn!(%error, "failed to accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

// === impl Cut ===

impl Cut {
    /// Cuts; the answer that is being made is never sent.
    pub(super) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Connected<IncomingStream<'_, Listener>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.io().cut.clone()
    }
}

// === impl Stream ===

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut.check()?;
        on_wire!(self, wire => Pin::new(wire).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.cut.check()?;
        on_wire!(self, wire => Pin::new(wire).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.cut.check()?;
        on_wire!(self, wire => Pin::new(wire).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(tcp) => tcp.is_write_vectored(),
            Wire::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut.check()?;
        on_wire!(self, wire => Pin::new(wire).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self, wire => Pin::new(wire).poll_shutdown(cx))
    }
}
