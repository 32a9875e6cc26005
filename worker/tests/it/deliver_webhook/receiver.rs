//! A receiver of webhooks that keeps what it gets, and behaves as badly as one likes.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use rcgen::{CertificateParams, Issuer, KeyPair};
use standardwebhooks::Webhook;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What a request is answered with.
#[derive(Clone)]
pub(super) enum Answer {
    /// These bytes, and the end of the connection.
    Bytes(String),
    /// Nothing, for ever.
    Hang,
    /// This, and then a byte now and then, for ever.
    Drip(String),
    /// This, and then as much as anybody wants to have.
    Endless(String),
}

/// What came in.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    sent: AtomicU64,
}

/// An answer of this status without a body.
pub(super) fn status(status: u16) -> Answer {
    with(status, "", "")
}

/// An answer with more headers, each ended by a line break, and a body.
pub(super) fn with(status: u16, headers: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Bytes(format!(
        "HTTP/1.1 {status} Said\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    ))
}

impl Receiver {
    /// One that answers with these in turn, and goes on with the last.
    pub(super) async fn start(answers: impl Into<Vec<Answer>>) -> Self {
        Self::listen(answers.into(), None).await
    }

    /// The same with TLS, for this name; and the authority that has signed its certificate.
    pub(super) async fn start_tls(name: &str, answer: Answer) -> (Self, RootCertStore) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        (Self::listen(vec![answer], Some(tls)).await, roots)
    }

    async fn listen(answers: Vec<Answer>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let at = shared.connections.fetch_add(1, Ordering::SeqCst);
                let answer = answers[at.min(answers.len() - 1)].clone();
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                // A client that goes away ends its conversation with an error.
                tokio::spawn(async move {
                    match tls {
                        None => talk(stream, answer, &state).await,
                        Some(tls) => talk(tls.accept(stream).await?, answer, &state).await,
                    }
                });
            }
        });
        Self { addr, state }
    }

    /// Its address as a URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks?key=1", self.addr)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// How often it was connected to.
    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many bytes it got rid of.
    pub(super) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }
}

impl Request {
    /// What a receiver does first, with the published library.
    pub(super) fn is_signed_by(&self, secret: &str) -> bool {
        let webhook = Webhook::new(secret).unwrap();
        webhook.verify(self.body.as_bytes(), &self.headers).is_ok()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    state: &State,
) -> io::Result<()> {
    let request = read(&mut stream).await?;
    state.requests.lock().unwrap().push(request);
    match answer {
        Answer::Bytes(bytes) => {
            stream.write_all(bytes.as_bytes()).await?;
            stream.shutdown().await
        }
        Answer::Hang => std::future::pending().await,
        Answer::Drip(bytes) => {
            stream.write_all(bytes.as_bytes()).await?;
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                stream.write_all(b"x").await?;
            }
        }
        Answer::Endless(bytes) => {
            stream.write_all(bytes.as_bytes()).await?;
            let chunk = vec![b'x'; 64 * 1024];
            loop {
                let written = stream.write(&chunk).await?;
                state.sent.fetch_add(written as u64, Ordering::SeqCst);
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Request> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break (String::from_utf8(bytes[..end].to_vec()).unwrap(), end + 4);
        }
    };
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: HeaderMap = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        })
        .collect();
    let size: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    while bytes.len() < length + size {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let body = String::from_utf8(bytes.split_off(length)).unwrap();
    Ok(Request {
        line,
        headers,
        body,
    })
}
