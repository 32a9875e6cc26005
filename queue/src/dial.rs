//! Opens the streams to Redis: TCP, TLS over TCP, or a socket file,
//! to a server that is named, or that others know.

use redis::{ConnectionAddr, ErrorKind, RedisResult};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{Tls, settings::Settings};

/// What Redis is spoken to over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A new stream to the server that has this key; how long that may take is up to the caller.
pub(crate) async fn dial(settings: &Settings, key: &str) -> RedisResult<Box<dyn Stream>> {
    let tls = settings.tls.as_ref();
    let login = settings.redis.redis_settings();
    let limit = settings.tuning.connect_timeout;
    if let Some((host, port)) = settings.servers.find(key, login, tls, limit).await? {
        return open(&host, port, tls).await;
    }
    match settings.redis.addr() {
        ConnectionAddr::Tcp(host, port) => open(host, *port, tls).await,
        ConnectionAddr::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        _ => {
            let what = "name the host without TLS, and set queue::Settings::tls";
            Err((ErrorKind::InvalidClientConfig, what).into())
        }
    }
}

/// A new stream to this host.
pub(crate) async fn open(host: &str, port: u16, tls: Option<&Tls>) -> RedisResult<Box<dyn Stream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let connector = TlsConnector::from(tls.config());
    Ok(Box::new(connector.connect(name, stream).await?))
}
