//! Which server a queue is on.

use anyhow::{Context, Result};

use crate::brief::{Address, NAMESPACE, SET};

/// The port of the primary that a queue is on, as those say that know it.
pub(crate) async fn node_of(redis: &Address, queue: &str) -> Result<u16> {
    let ports = match redis {
        Address::One(port) => return Ok(*port),
        Address::Sentinel(ports) | Address::Cluster(ports) => ports,
    };
    let mut failure = None;
    for port in ports {
        let found = match redis {
            Address::Cluster(_) => in_cluster(*port, queue).await,
            _ => by_sentinel(*port).await,
        };
        match found {
            Ok(found) => return Ok(found),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.context("there is nobody to ask")?)
}

async fn by_sentinel(port: u16) -> Result<u16> {
    let mut cmd = redis::cmd("SENTINEL");
    cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(SET);
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let (_, primary): (String, u16) = cmd.query_async(&mut connection).await?;
    Ok(primary)
}

/// A node that has another's key names that other.
async fn in_cluster(port: u16, queue: &str) -> Result<u16> {
    let mut cmd = redis::cmd("XLEN");
    cmd.arg(format!("{{{NAMESPACE}:{queue}}}:s:0"));
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    match cmd.exec_async(&mut connection).await {
        Ok(()) => Ok(port),
        Err(error) => {
            let other = error.redirect_node().map(|(address, _)| address.to_owned());
            let port = other.as_deref().and_then(|other| other.rsplit(':').next());
            port.and_then(|port| port.parse().ok()).ok_or(error.into())
        }
    }
}
