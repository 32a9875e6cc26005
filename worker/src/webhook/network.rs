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
    /// All addresses of the name; an error is of the kind `TimedOut` where nobody could be asked.
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
            let found = tokio::net::lookup_host((name, 0)).await;
            let found = found.map_err(kind)?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    fn connect(&self, address: SocketAddr) -> Work<'_, TcpStream> {
        Box::pin(TcpStream::connect(address))
    }
}

/// Of what the resolver says, all that can be told apart is its text: EAI_AGAIN has this one in glibc
/// and on macOS, and that in musl.
fn kind(error: io::Error) -> io::Error {
    let text = error.to_string();
    let temporary = ["Temporary failure in name resolution", "Try again"];
    if temporary.iter().any(|end| text.ends_with(end)) {
        io::Error::new(io::ErrorKind::TimedOut, error)
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_is_away_is_told_from_a_name_that_is_not_there() {
        for (text, expected) in [
            (
                "Temporary failure in name resolution",
                io::ErrorKind::TimedOut,
            ),
            ("Try again", io::ErrorKind::TimedOut),
            ("Name or service not known", io::ErrorKind::Other),
            ("No address associated with hostname", io::ErrorKind::Other),
        ] {
            let text = format!("failed to lookup address information: {text}");
            assert_eq!(kind(io::Error::other(text)).kind(), expected);
        }
    }
}
