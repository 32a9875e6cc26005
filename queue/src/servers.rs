//! Which server a queue is on: the one that is named, or the one that others know.

use std::time::Duration;

use futures_util::{
    FutureExt,
    future::{join_all, select_ok},
};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisResult, ServerErrorKind,
    Value, aio::MultiplexedConnection,
};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::{Tls, dial::open, reply::parse};

/// A server that can be asked: host and port.
type Node = (String, u16);

/// How the server is found that a queue is on, at each new connection.
#[derive(Clone, Debug, Default)]
pub enum Servers {
    /// It is at the address in [`crate::Settings::redis`].
    #[default]
    One,
    /// Sentinels know it.
    Sentinel(Sentinel),
    /// It is the node of a Redis Cluster that has the queue's slot.
    Cluster(Cluster),
}

/// Sentinels, which know the primary of a set of servers.
#[derive(Clone, Debug)]
pub struct Sentinel {
    /// Host and port of each.
    pub nodes: Vec<Node>,
    /// What they call the set of servers.
    pub set: String,
    /// User and password for the Sentinels themselves.
    pub login: RedisConnectionInfo,
}

/// Some nodes of a Redis Cluster; the others are found through them.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Host and port of each.
    pub nodes: Vec<Node>,
}

impl Servers {
    /// Whether there is anybody to ask, where somebody is to be asked.
    pub(crate) fn are_named(&self) -> bool {
        match self {
            Self::One => true,
            Self::Sentinel(sentinel) => !sentinel.nodes.is_empty(),
            Self::Cluster(cluster) => !cluster.nodes.is_empty(),
        }
    }

    /// Host and port of the server that this key is on; none for the one of the settings.
    ///
    /// `limit` is the time for a new connection, of which Sentinels get a half.
    pub(crate) async fn find(
        &self,
        key: &str,
        login: &RedisConnectionInfo,
        tls: Option<&Tls>,
        limit: Duration,
    ) -> RedisResult<Option<Node>> {
        match self {
            Self::One => Ok(None),
            Self::Sentinel(sentinel) => sentinel.primary(tls, limit / 2).await.map(Some),
            Self::Cluster(cluster) => {
                let mut asked = Vec::new();
                for node in &cluster.nodes {
                    asked.push(node_of(key, node, login, tls).boxed());
                }
                // All at once, because one that is cut off would use up the time there is. Any
                // will do: one that is wrong leads to a node that says so.
                let (first, _) = select_ok(asked).await?;
                Ok(Some(first))
            }
        }
    }
}

impl Sentinel {
    /// The primary that most Sentinels name which answer in time: one that is cut off from
    /// the others may still name the one of before.
    async fn primary(&self, tls: Option<&Tls>, limit: Duration) -> RedisResult<Node> {
        let mut asked = Vec::new();
        for node in &self.nodes {
            asked.push(timeout(limit, self.ask(node, tls)));
        }
        let mut named: Vec<(Node, usize)> = Vec::new();
        let mut failure = None;
        for answer in join_all(asked).await {
            match answer {
                Ok(Ok(node)) => match named.iter_mut().find(|(known, _)| *known == node) {
                    Some((_, times)) => *times += 1,
                    None => named.push((node, 1)),
                },
                // That a set is not known says more than that a Sentinel is away.
                Ok(Err(error)) if !error.is_io_error() => failure = Some(error),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(elapsed) => {
                    failure = failure.or_else(|| Some(std::io::Error::from(elapsed).into()));
                }
            }
        }
        let most = named.into_iter().max_by_key(|(_, times)| *times);
        most.map(|(node, _)| node).ok_or_else(|| {
            let what = "no Sentinel to ask";
            failure.unwrap_or_else(|| (ErrorKind::InvalidClientConfig, what).into())
        })
    }
}

impl Sentinel {
    /// The primary as this Sentinel knows it; the client's part of
    /// <https://redis.io/docs/latest/develop/reference/sentinel-clients/>.
    ///
    /// A server that is no primary any more refuses to be written to, which ends the
    /// connection, and the next one begins here.
    async fn ask(&self, node: &Node, tls: Option<&Tls>) -> RedisResult<Node> {
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.set);
        let answer = ask(node, &self.login, tls, &question).await?;
        let address = match &answer {
            Value::Array(parts) => match parts.as_slice() {
                [host, port] => parse(host).zip(parse(port)),
                _ => None,
            },
            _ => None,
        };
        address.ok_or_else(|| {
            let what = "the Sentinels do not know this set";
            (ErrorKind::InvalidClientConfig, what, self.set.clone()).into()
        })
    }
}

/// The node of a Cluster that has this key's slot: the one that names no other for it
/// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>).
async fn node_of(
    key: &str,
    node: &Node,
    login: &RedisConnectionInfo,
    tls: Option<&Tls>,
) -> RedisResult<Node> {
    let mut question = redis::cmd("XLEN");
    question.arg(key);
    let Err(error) = ask(node, login, tls, &question).await else {
        return Ok(node.clone());
    };
    if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Ask)) {
        // Its slot is on the way, and this node's still.
        return Ok(node.clone());
    }
    let other = error.redirect_node().and_then(|(address, _)| {
        let (host, port) = address.rsplit_once(':')?;
        // Without a host it is the one that was asked.
        let host = if host.is_empty() { &node.0 } else { host };
        Some((host.to_owned(), port.parse().ok()?))
    });
    other.ok_or(error)
}

/// Runs one command on a connection of its own; the caller limits the time.
async fn ask(
    (host, port): &Node,
    login: &RedisConnectionInfo,
    tls: Option<&Tls>,
    question: &Cmd,
) -> RedisResult<Value> {
    let stream = open(host, *port, tls).await?;
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let login = login.clone().set_skip_set_lib_name();
    let (mut connection, driver) =
        MultiplexedConnection::new_with_config(&login, stream, config).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(driver));
    match connection.send_packed_command(question).await? {
        Value::ServerError(error) => Err(error.into()),
        answer => Ok(answer),
    }
}
