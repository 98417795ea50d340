//! How a request travels: connections, limits, where it may go. Knows HTTP and nothing of images.

pub(crate) mod address;
pub(crate) mod clients;
pub(crate) mod failure;
pub(crate) mod guard;
pub(crate) mod habits;
pub(crate) mod handshake;
pub(crate) mod lead;
pub(crate) mod limits;
pub(crate) mod pace;
pub(crate) mod place;
pub(crate) mod proxy;
pub(crate) mod resolve;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod session;
pub(crate) mod tls;
pub(crate) mod transport;
