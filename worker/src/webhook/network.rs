//! Names and connections: the system's, and whatever a test puts in its place.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use tokio::net::TcpStream;

/// A future of the network.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// How a name becomes addresses, and an address a connection.
///
/// What may be connected to is decided between the two, and not here.
pub trait Network: Send + Sync + 'static {
    /// All addresses of the name.
    fn resolve<'a>(&'a self, name: &'a str) -> Work<'a, Vec<IpAddr>>;

    /// A connection to exactly this address.
    fn connect(&self, address: SocketAddr) -> Work<'_, TcpStream>;
}

/// The system's resolver and network.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Network for System {
    fn resolve<'a>(&'a self, name: &'a str) -> Work<'a, Vec<IpAddr>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    fn connect(&self, address: SocketAddr) -> Work<'_, TcpStream> {
        Box::pin(TcpStream::connect(address))
    }
}
