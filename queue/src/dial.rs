//! Opens the streams to Redis: TCP, TLS over TCP, or a socket file.

use redis::{ConnectionAddr, ErrorKind, RedisResult};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::settings::Settings;

/// What Redis is spoken to over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A new stream to the address in the settings; how long that may take is up to the caller.
pub(crate) async fn dial(settings: &Settings) -> RedisResult<Box<dyn Stream>> {
    let (host, port) = match settings.redis.addr() {
        ConnectionAddr::Tcp(host, port) => (host, *port),
        ConnectionAddr::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        _ => {
            let what = "name the host without TLS, and set queue::Settings::tls";
            return Err((ErrorKind::InvalidClientConfig, what).into());
        }
    };
    let stream = TcpStream::connect((&**host, port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = &settings.tls else {
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
    let connector = TlsConnector::from(tls.config());
    Ok(Box::new(connector.connect(name, stream).await?))
}
