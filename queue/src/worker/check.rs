//! What Redis' own settings mean for a queue.

use redis::Value;

use crate::{Error, connection::Connection};

/// Looks at the eviction policy and the append-only file.
///
/// With `strict`, a policy that may evict jobs is an error, otherwise a line in the
/// log; so is a Redis that does not tell.
pub(super) async fn redis_keeps_jobs(connection: &Connection, strict: bool) -> Result<(), Error> {
    let mut info = redis::cmd("INFO");
    info.arg("memory").arg("persistence");
    let text = match connection.one(&info).await? {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::VerbatimString { text, .. } => text,
        _ => return Err(Error::Reply("INFO")),
    };
    match field(&text, "maxmemory_policy") {
        Some("noeviction") => {}
        Some(policy) => {
            let error = Error::Eviction {
                policy: policy.to_owned(),
            };
            if strict {
                return Err(error);
            }
            tracing::error!(%error, "jobs can be lost");
        }
        None => tracing::warn!("Redis does not tell its maxmemory-policy: it must be noeviction"),
    }
    match field(&text, "aof_enabled") {
        Some("1") => {}
        Some(_) => tracing::warn!(
            "Redis has no append-only file: its restart loses jobs (set appendonly yes)"
        ),
        None => tracing::warn!("Redis does not tell whether it has an append-only file"),
    }
    Ok(())
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let info = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(field(info, "maxmemory_policy"), Some("noeviction"));
        assert_eq!(field(info, "maxmemory"), Some("0"));
        assert_eq!(field(info, "aof_enabled"), None);
    }
}
