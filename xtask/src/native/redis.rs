//! A Redis of the checkout's own, with the configuration and the users that Docker's has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::control::Place;
use super::plan::{Spec, stamp};
use super::probe::Probe;
use super::servers::Redis;
use crate::project::{Project, write_whole};
use crate::secrets;

/// Where its append-only file lies.
pub(crate) fn data(project: &Project) -> PathBuf {
    project.state_dir().join("data/redis")
}

/// For the supervisor: the configuration that Docker's has, with this place's paths and port.
pub(crate) fn spec(project: &Project, place: &Place, redis: &Redis, port: u16) -> Result<Spec> {
    let data = data(project);
    fs::create_dir_all(&data).with_context(|| format!("{} cannot be made", data.display()))?;
    let users = project.secrets_dir().join(secrets::REDIS_USERS);
    let shared = project.root().join("docker/redis.conf");
    let shared = fs::read_to_string(&shared)
        .with_context(|| format!("{} cannot be read", shared.display()))?;
    let config = place.redis_config();
    let text = configuration(&shared, port, &data, &users);
    if fs::read_to_string(&config).ok().as_deref() != Some(text.as_str()) {
        write_whole(&config, &text)?;
    }
    Ok(Spec {
        name: "redis".to_owned(),
        args: vec![config.display().to_string()],
        // The times in its log.
        env: BTreeMap::from([("TZ".to_owned(), "UTC".to_owned())]),
        folder: data,
        account: None,
        probe: Probe::Redis { port },
        address: format!("127.0.0.1:{port}"),
        stops_on_interrupt: false,
        grace_seconds: 30,
        stamp: stamp(&[&redis.server, &config, &users]),
        program: redis.server.clone(),
    })
}

/// The shared configuration without what is about a container, then the same about this place.
/// (Arguments behind the file would not do: Redis tries each line as it reads it.)
fn configuration(shared: &str, port: u16, data: &Path, users: &Path) -> String {
    const REPLACED: [&str; 5] = ["aclfile", "bind", "dir", "port", "protected-mode"];
    let is_kept = |line: &&str| {
        line.split_whitespace()
            .next()
            .is_none_or(|word| !REPLACED.contains(&word))
    };
    let mut lines: Vec<String> = shared.lines().filter(is_kept).map(str::to_owned).collect();
    // Quoted, because a path may hold blanks.
    lines.push(format!("port {port}"));
    lines.push("bind 127.0.0.1".to_owned());
    lines.push(format!("dir \"{}\"", data.display()));
    lines.push(format!("aclfile \"{}\"", users.display()));
    lines.join("\n") + "\n"
}

/// The prompt, as the services' user. It takes a password from nowhere but an argument or this
/// variable, and only processes of the same user can read the latter.
pub(crate) fn cli(project: &Project, redis: &Redis, port: u16) -> Result<Command> {
    let mut cli = Command::new(redis.cli());
    cli.env("REDISCLI_AUTH", secrets::read(project, "redis_password")?)
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "--user",
            "slipway",
        ]);
    Ok(cli)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_container_is_replaced() {
        let shared =
            "# dir of Docker\ndir /data\nappendonly yes\nbind * -::*\naclfile /run/secrets/x\n";
        let text = configuration(shared, 7, Path::new("/a b"), Path::new("/users"));
        assert_eq!(
            text,
            "# dir of Docker\nappendonly yes\nport 7\nbind 127.0.0.1\ndir \"/a b\"\naclfile \"/users\"\n"
        );
    }
}
