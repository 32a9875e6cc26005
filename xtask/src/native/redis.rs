//! A Redis of the checkout's own, with the configuration and the users that Docker's has.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::plan::{Spec, stamp};
use super::probe::Probe;
use super::servers::Redis;
use crate::project::Project;
use crate::secrets;

/// Where its append-only file lies.
pub(crate) fn data(project: &Project) -> PathBuf {
    project.state_dir().join("data/redis")
}

/// For the supervisor: `docker/redis.conf`, with what is different outside of a container after it.
pub(crate) fn spec(project: &Project, redis: &Redis, port: u16) -> Result<Spec> {
    let data = data(project);
    fs::create_dir_all(&data).with_context(|| format!("{} cannot be made", data.display()))?;
    let config = project.root().join("docker/redis.conf");
    let users = project.secrets_dir().join(secrets::REDIS_USERS);
    let port_text = port.to_string();
    let args = [
        config.display().to_string(),
        "--port".to_owned(),
        port_text,
        "--bind".to_owned(),
        "127.0.0.1".to_owned(),
        "--dir".to_owned(),
        data.display().to_string(),
        "--aclfile".to_owned(),
        users.display().to_string(),
        "--daemonize".to_owned(),
        "no".to_owned(),
    ];
    Ok(Spec {
        name: "redis".to_owned(),
        args: args.to_vec(),
        env: BTreeMap::new(),
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
