//! The HTTP client of the export: hyper and rustls, which the services have anyway.
//!
//! A connection for each batch. There is one every few seconds, and none that could be stale.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use axum::http::{HeaderValue, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use tokio_util::task::AbortOnDropHandle;

use crate::telemetry::chain;

/// How long the collector may take to answer, as the specification has it; nobody waits for it
/// but the next batch.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of an answer that are read. There is hardly anything in one.
const ANSWER: usize = 64 * 1024;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the collector cannot be connected to")]
    Connect(#[source] io::Error),
    #[error("no TLS connection with the collector")]
    Tls(#[source] io::Error),
    #[error("the collector does not speak HTTP/1.1")]
    Http(#[from] hyper::Error),
    #[error("the collector's answer cannot be read")]
    Answer(#[source] HttpError),
    #[error("the collector did not answer within {TIMEOUT:?}")]
    TimedOut,
    #[error("the process ends")]
    Ending,
}

/// Sends in a runtime what a thread outside of it wants to be sent.
#[derive(Clone, Debug)]
pub(super) struct Client {
    runtime: Handle,
    tls: Arc<ClientConfig>,
    /// The exporter tells only that something failed.
    failure: Arc<Mutex<Option<String>>>,
}

impl Client {
    /// In the current runtime; trusts whom Mozilla trusts.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(super) fn new() -> Self {
        let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        // Named, because a process with two of them in its dependencies has no default.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the protocols that it is built with")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            runtime: Handle::current(),
            tls: Arc::new(config),
            failure: Arc::default(),
        }
    }

    /// Why the last request got no answer, if it got none.
    pub(super) fn last_failure(&self) -> Option<String> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = exchange(Arc::clone(&self.tls), request);
        // The clock of the time-out is the runtime's as well.
        let in_time = async { tokio::time::timeout(TIMEOUT, exchange).await };
        let answer = self.runtime.spawn(in_time);
        let answer = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Failure::TimedOut),
            Err(_) => Err(Failure::Ending),
        };
        let why = answer.as_ref().err().map(|error| chain(error).to_string());
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = why;
        Ok(answer?)
    }
}

async fn exchange(
    tls: Arc<ClientConfig>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Failure> {
    let stream = connect(tls, request.uri()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _moving = AbortOnDropHandle::new(tokio::spawn(connection));
    let (head, body) = sender.send_request(to_origin(request)).await?.into_parts();
    let body = Limited::new(body, ANSWER).collect().await;
    let body = body.map_err(Failure::Answer)?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(tls: Arc<ClientConfig>, uri: &Uri) -> Result<Box<dyn Stream>, Failure> {
    let encrypted = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    // The brackets around an IPv6 address belong to the URL.
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(Failure::Connect)?;
    if !encrypted {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other);
    let name = name.map_err(Failure::Tls)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    Ok(Box::new(stream.map_err(Failure::Tls)?))
}

/// The request as it is sent to a server, and not to a proxy.
fn to_origin(request: Request<Bytes>) -> Request<Full<Bytes>> {
    let (mut head, body) = request.into_parts();
    let host = head.uri.authority().map_or("", |a| a.as_str());
    if let Ok(host) = HeaderValue::from_str(host) {
        head.headers.insert(header::HOST, host);
    }
    let close = HeaderValue::from_static("close");
    head.headers.insert(header::CONNECTION, close);
    let path = head.uri.path_and_query().cloned();
    head.uri = path.map_or_else(Uri::default, Uri::from);
    Request::from_parts(head, Full::new(body))
}
