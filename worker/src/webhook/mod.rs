//! Calls of webhooks: one POST to a URL that a stranger has typed.
//!
//! Nothing that the stranger controls may lead further than to their own public receiver, take
//! longer than [`TIMEOUT`], or fill the memory:
//!
//! - a name is resolved once, all its addresses are checked, and the connection goes to one of
//!   them: a name that leads elsewhere a moment later has no second moment;
//! - no redirect is followed, no proxy asked, no cookie kept, no connection used twice;
//! - the answer's head is read up to 16 KiB, its body up to 4 KiB, and the rest never arrives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::webhooks::{InvalidTarget, Response, Target, Targets};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

mod connect;
mod exchange;
mod network;

pub use network::{Network, System, Work};

/// The most time for all of it, from the name's resolution to the answer's last byte.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the calls.
pub struct Sender {
    targets: Targets,
    network: Box<dyn Network>,
    tls: TlsConnector,
}

/// What is sent beside the body.
#[derive(Debug)]
pub struct Headers {
    /// `webhook-id`
    pub id: String,
    /// `webhook-timestamp`, in seconds since 1970
    pub timestamp: i64,
    /// `webhook-signature`
    pub signature: String,
}

/// Why there was no answer. The endpoint's owner reads it: it tells of their receiver, and
/// nothing of the network that it was called from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The URL is not, or no more, one that may be called.
    #[error("the URL {0}")]
    Target(#[from] InvalidTarget),
    /// There is no such name, or none of its addresses is known.
    #[error("the host's name cannot be resolved")]
    Name,
    /// Nobody could say whether there is such a name: our resolver is away.
    #[error("our resolver did not answer, which is no fault of the receiver")]
    Resolver,
    /// One of the name's addresses is private.
    #[error("the host's name leads to an address that is not public")]
    Private,
    /// No connection.
    #[error("the receiver cannot be connected to")]
    Connect,
    /// The certificate is for others, is over, or nobody known has signed it.
    #[error("the receiver's certificate is not valid: {0}")]
    Certificate(&'static str),
    /// No encrypted connection.
    #[error("no TLS connection can be agreed on with the receiver")]
    Tls,
    /// The connection ended too early.
    #[error("the receiver closed the connection before it had answered")]
    Closed,
    /// The answer's head is too long.
    #[error("the head of the receiver's answer is longer than 16 KiB")]
    TooLarge,
    /// The answer is something else.
    #[error("the receiver's answer is not HTTP/1.1")]
    NotHttp,
    /// [`TIMEOUT`] is over.
    #[error("the receiver did not answer within 10 seconds")]
    TimedOut,
}

impl Sender {
    /// Calls `targets` by way of this network, and trusts whom Mozilla trusts.
    pub fn new(targets: Targets, network: impl Network) -> Self {
        let public = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
        Self {
            targets,
            network: Box::new(network),
            tls: trusting(public.collect()),
        }
    }

    /// Trusts these authorities in place of the public ones.
    #[must_use]
    pub fn with_authorities(mut self, roots: RootCertStore) -> Self {
        self.tls = trusting(roots);
        self
    }

    /// Posts the body to the URL.
    ///
    /// # Errors
    /// When there is no answer. What an answer means is the caller's to say.
    pub async fn post(
        &self,
        url: &str,
        headers: Headers,
        body: String,
    ) -> Result<Response, CallError> {
        let target = Target::parse(url, self.targets)?;
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let addresses = tokio::time::timeout_at(deadline, self.addresses(&target)).await;
        let addresses = addresses.map_err(|_| CallError::Resolver)??;
        let begun = tokio::time::timeout_at(deadline, async {
            let stream = self.connect(&target, addresses).await?;
            exchange::begin(stream, &target, headers, body).await
        });
        let answer = begun.await.map_err(|_| CallError::TimedOut)??;
        // The status has said what matters: a body that stays away changes nothing.
        Ok(answer.read(deadline).await)
    }
}

fn trusting(roots: RootCertStore) -> TlsConnector {
    // Named, because a process with two of them in its dependencies has no default.
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}
