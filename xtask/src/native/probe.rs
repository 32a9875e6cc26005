//! Asking a service whether it is healthy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// One way to ask.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Probe {
    /// `GET /readyz` is answered with 200.
    Http {
        /// `127.0.0.1:8000`
        address: String,
    },
    /// `pg_isready` says that connections are accepted.
    Postgres {
        /// The path of `pg_isready`.
        program: PathBuf,
        /// On 127.0.0.1.
        port: u16,
    },
    /// The user `health` gets a PONG.
    Redis {
        /// On 127.0.0.1.
        port: u16,
    },
}

impl Probe {
    /// Asks once.
    pub(crate) fn is_healthy(&self) -> bool {
        match self {
            Self::Http { address } => is_http_ready(address),
            Self::Postgres { program, port } => accepts_connections(program, *port),
            Self::Redis { port } => redis_pongs(*port).unwrap_or(false),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Http { address } => json!({ "http": address }),
            Self::Postgres { program, port } => json!({ "postgres": program, "port": port }),
            Self::Redis { port } => json!({ "redis": true, "port": port }),
        }
    }

    pub(super) fn from_json(value: &Value) -> Result<Self> {
        let port = || {
            value["port"]
                .as_u64()
                .and_then(|port| u16::try_from(port).ok())
                .context("a probe without port")
        };
        if let Some(address) = value["http"].as_str() {
            Ok(Self::Http {
                address: address.to_owned(),
            })
        } else if let Some(program) = value["postgres"].as_str() {
            Ok(Self::Postgres {
                program: program.into(),
                port: port()?,
            })
        } else if value["redis"] == true {
            Ok(Self::Redis { port: port()? })
        } else {
            bail!("an unknown probe: {value}")
        }
    }
}

fn is_http_ready(address: &str) -> bool {
    let request = minreq::get(format!("http://{address}/readyz")).with_timeout(PATIENCE.as_secs());
    request
        .send()
        .is_ok_and(|response| response.status_code == 200)
}

/// By TCP: Postgres is to be reached as the services reach it.
pub(crate) fn accepts_connections(pg_isready: &Path, port: u16) -> bool {
    Command::new(pg_isready)
        .args(["-q", "-t", "3", "-h", "127.0.0.1", "-p", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Speaks the protocol itself (RESP, inline commands), so that no password and no client is needed.
fn redis_pongs(port: u16) -> Result<bool> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // A throw-away server knows no user `health` and refuses the AUTH, but answers the PING.
    stream.write_all(b"AUTH health none\r\nPING\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 256];
    while answer.iter().filter(|byte| **byte == b'\n').count() < 2 {
        match stream.read(&mut buffer)? {
            0 => return Ok(false),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    // While the append-only file is read, the answer is -LOADING.
    Ok(answer.ends_with(b"+PONG\r\n"))
}
