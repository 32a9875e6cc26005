//! The way to a target: name, addresses, check, connection, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use domain::webhooks::Target;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};

use super::{CallError, Sender};

/// How long one of several addresses may take to accept: the next may do so at once.
const CONNECT: Duration = Duration::from_secs(3);

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Sender {
    /// Connects to one of the target's addresses that was checked, and to no other.
    pub(super) async fn connect(
        &self,
        target: &Target,
        addresses: Vec<IpAddr>,
    ) -> Result<Box<dyn Stream>, CallError> {
        // All of them, or a public one would let a private one in beside it.
        if !addresses.iter().all(|address| self.targets.allow(*address)) {
            return Err(CallError::Private);
        }
        let stream = self.dial(addresses, target.port()).await?;
        if !target.is_https() {
            return Ok(Box::new(stream));
        }
        // The certificate has to be the name's, whatever the address.
        let name = ServerName::try_from(target.host().to_owned()).map_err(|_| CallError::Tls)?;
        let stream = self.tls.connect(name, stream).await.map_err(|e| tls(&e))?;
        Ok(Box::new(stream))
    }

    /// The target's addresses, as they come.
    pub(super) async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, CallError> {
        if let Some(address) = target.address() {
            return Ok(vec![address]);
        }
        let found = self.network.resolve(target.host()).await;
        let found = found.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => CallError::Resolver,
            _ => CallError::Name,
        })?;
        if found.is_empty() {
            return Err(CallError::Name);
        }
        Ok(found)
    }

    async fn dial(&self, addresses: Vec<IpAddr>, port: u16) -> Result<TcpStream, CallError> {
        for address in addresses {
            let dialled = self.network.connect(SocketAddr::new(address, port));
            if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT, dialled).await {
                // One small request: nothing is gained by waiting for more of it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
        }
        Err(CallError::Connect)
    }
}

/// What is wrong with the receiver's TLS, in words for its owner.
fn tls(error: &io::Error) -> CallError {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<TlsError>());
    let Some(TlsError::InvalidCertificate(wrong)) = cause else {
        return CallError::Tls;
    };
    CallError::Certificate(match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its time has not begun"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no known authority has signed it"
        }
        CertificateError::Revoked => "it was revoked",
        _ => "it is damaged",
    })
}
