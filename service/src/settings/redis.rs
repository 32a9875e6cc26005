use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use secrecy::{ExposeSecret, SecretString};

use super::Reader;

/// Redis.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// ACL user.
    pub user: String,
    /// The user's password.
    pub password: SecretString,
    /// TLS to it; none to speak in the clear.
    pub tls: Option<RedisTls>,
    /// Who knows host and port, where these are not fixed.
    pub servers: RedisServers,
}

/// TLS to Redis.
#[derive(Clone, Debug)]
pub struct RedisTls {
    /// The certificates to trust, in PEM; none for those of public authorities.
    pub ca: Option<String>,
}

/// How the server is found.
#[derive(Clone, Debug)]
pub enum RedisServers {
    /// By the host and port that are set.
    One,
    /// By Sentinels, which know the primary.
    Sentinel {
        /// Host and port of each.
        nodes: Vec<(String, u16)>,
        /// What they call the set of servers.
        set: String,
        /// How to log in to the Sentinels themselves.
        login: RedisConnectionInfo,
    },
    /// By nodes of a Cluster, which know the others.
    Cluster {
        /// Host and port of some.
        nodes: Vec<(String, u16)>,
    },
}

impl Redis {
    /// Reads `REDIS_*`.
    pub fn read(reader: &mut Reader) -> Self {
        let tls = reader.parsed("REDIS_TLS", "on or off", |text| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        });
        let ca = reader.optional_text("REDIS_CA");
        match &ca {
            Some(_) if !tls => {
                let wrong = "names whom to trust, but REDIS_TLS is off";
                reader.problem("REDIS_CA", wrong, "set REDIS_TLS to on, or remove it");
            }
            Some(pem) if !pem.contains("-----BEGIN CERTIFICATE-----") => {
                let right = "set REDIS_CA_FILE to the path of a file with certificates in PEM";
                reader.problem("REDIS_CA", "no certificate in PEM", right);
            }
            _ => {}
        }
        Self {
            host: reader.text("REDIS_HOST"),
            port: reader.number("REDIS_PORT", 1..=u16::MAX),
            user: reader.text("REDIS_USER"),
            password: reader.secret("REDIS_PASSWORD", 16),
            tls: tls.then_some(RedisTls { ca }),
            servers: servers(reader),
        }
    }

    /// How the `redis` crate connects with these settings, to a server that is fixed.
    ///
    /// # Panics
    /// Never: an address needs no parsing.
    pub fn connection(&self) -> ConnectionInfo {
        let login = RedisConnectionInfo::default()
            .set_username(&self.user)
            .set_password(self.password.expose_secret());
        ConnectionAddr::Tcp(self.host.clone(), self.port)
            .into_connection_info()
            .expect("an address needs no parsing")
            .set_redis_settings(login)
    }
}

/// Reads `REDIS_SENTINEL*` and `REDIS_CLUSTER`.
fn servers(reader: &mut Reader) -> RedisServers {
    let set = reader.text("REDIS_SENTINEL_SET");
    let mut login = RedisConnectionInfo::default();
    if let Some(password) = reader.optional_secret("REDIS_SENTINEL_PASSWORD", 1) {
        login = login.set_password(password.expose_secret());
    }
    let sentinels = nodes(reader, "REDIS_SENTINELS");
    match (sentinels, nodes(reader, "REDIS_CLUSTER")) {
        (None, None) => RedisServers::One,
        (None, Some(nodes)) => RedisServers::Cluster { nodes },
        (Some(nodes), cluster) => {
            if cluster.is_some() {
                let wrong = "is set, and so is REDIS_SENTINELS";
                let right = "a Cluster needs no Sentinels: keep one of the two";
                reader.problem("REDIS_CLUSTER", wrong, right);
            }
            RedisServers::Sentinel { nodes, set, login }
        }
    }
}

/// Reads `host:port,host:port`.
fn nodes(reader: &mut Reader, name: &'static str) -> Option<Vec<(String, u16)>> {
    let mut nodes = Vec::new();
    for node in reader.list(name) {
        let parts = node.rsplit_once(':');
        match parts.map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port @ 1..))) if !host.is_empty() && !host.contains(['/', '@']) => {
                // Brackets only tell an IPv6 address from its port.
                nodes.push((host.trim_matches(['[', ']']).to_owned(), port));
            }
            _ => {
                // An address may hold a password.
                let node = if node.contains('@') {
                    "an address"
                } else {
                    &node
                };
                let wrong = format!("{node:?} is not a host and a port, such as redis-1:6379");
                reader.problem(name, wrong, "");
            }
        }
    }
    (!nodes.is_empty()).then_some(nodes)
}
