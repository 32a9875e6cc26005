//! Redis Sentinel: which server is the primary now.
//!
//! The client's part of <https://redis.io/docs/latest/develop/reference/sentinel-clients/>:
//! the Sentinels are asked at each new connection, and a server that is no primary any
//! more refuses to be written to, which ends the connection.

use futures_util::{FutureExt, future::select_ok};
use redis::{
    AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{Tls, dial::open, reply::parse};

/// Sentinels to ask for the address of Redis.
#[derive(Clone, Debug)]
pub struct Sentinel {
    /// Host and port of each.
    pub nodes: Vec<(String, u16)>,
    /// What they call the set of servers.
    pub set: String,
    /// User and password for the Sentinels themselves.
    pub login: RedisConnectionInfo,
}

impl Sentinel {
    /// Host and port of the primary, from whichever Sentinel tells first.
    pub(crate) async fn primary(&self, tls: Option<&Tls>) -> RedisResult<(String, u16)> {
        let asked = self.nodes.iter().map(|node| self.ask(node, tls).boxed());
        if asked.len() == 0 {
            let what = "no Sentinel to ask";
            return Err((ErrorKind::InvalidClientConfig, what).into());
        }
        // All at once, because one that is cut off would use up the time for a connection.
        select_ok(asked).await.map(|(address, _)| address)
    }

    async fn ask(&self, node: &(String, u16), tls: Option<&Tls>) -> RedisResult<(String, u16)> {
        let (host, port) = node;
        let stream = open(host, *port, tls).await?;
        // The caller's limit is the limit here.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let login = self.login.clone().set_skip_set_lib_name();
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&login, stream, config).await?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(driver));
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.set);
        let answer = connection.send_packed_command(&question).await?;
        address(&answer).ok_or_else(|| match answer {
            Value::ServerError(error) => error.into(),
            _ => RedisError::from((
                ErrorKind::InvalidClientConfig,
                "the Sentinels do not know this set",
                self.set.clone(),
            )),
        })
    }
}

fn address(answer: &Value) -> Option<(String, u16)> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let [host, port] = parts.as_slice() else {
        return None;
    };
    Some((parse(host)?, parse(port)?))
}
