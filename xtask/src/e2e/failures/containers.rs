//! Failures that need containers.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Said;
use super::scratch::Scratch;
use crate::e2e::Run;
use crate::ports;

const UP: [&str; 2] = ["up", "--docker"];

/// Without MailDev, which would only take time.
const PLAIN: &str = "COMPOSE_PROFILES=\n";

pub(super) fn no_engine(run: &Run) -> Result<String> {
    let scratch = Scratch::new(run, "engine", PLAIN)?;
    let socket = format!("unix://{}", scratch.root.join("no.sock").display());
    let mut up = scratch.command(&UP)?;
    Said::of(up.env("DOCKER_HOST", &socket))?.failed(&[
        "Docker cannot be used: the Docker engine is not running at unix://",
        "unset DOCKER_HOST",
        "cargo xtask up --native",
    ])?;
    Ok(String::new())
}

pub(super) fn no_image(run: &Run) -> Result<String> {
    // Nothing listens on port 1, so no registry does.
    let scratch = Scratch::new(run, "image", "POSTGRES_IMAGE=localhost:1/postgres:17\n")?;
    scratch.say(&UP)?.failed(&[
        "the image localhost:1/postgres:17 is not on this machine",
        "the registry localhost:1 cannot be reached",
        "docker pull localhost:1/postgres:17",
    ])?;
    Ok(String::new())
}

pub(super) fn out_of_memory(run: &Run) -> Result<String> {
    let scratch = Scratch::new(run, "memory", PLAIN)?;
    // tail(1) looks for the last line of what has none.
    let server = "command: [redis-server, /usr/local/etc/redis/redis.conf]";
    scratch.edit("  redis:", server, "command: [tail, /dev/zero]")?;
    scratch.edit("  redis:", "memory: 512m", "memory: 16m")?;
    scratch.say(&UP)?.failed(&[
        "error: redis was killed, because it used more than its memory limit",
        "raise the memory limit of `redis` in docker-compose.yml",
    ])?;
    Ok(String::new())
}

pub(super) fn full_disk(run: &Run) -> Result<String> {
    let scratch = Scratch::new(run, "disk", PLAIN)?;
    let small = "postgres-data: { driver_opts: { type: tmpfs, device: tmpfs, \
                 o: \"size=16m,uid=999,gid=999,mode=0700\" } }\n";
    scratch.edit("volumes:", "postgres-data:\n", small)?;
    scratch.say(&UP)?.failed(&[
        "error: postgres exited with code 1 at its start: the disk is full",
        "No space left on device",
        "make room",
    ])?;
    Ok(String::new())
}

/// One removed, then all of them: the volume keeps the old ones.
pub(super) fn lost_secrets(run: &Run) -> Result<String> {
    let scratch = Scratch::new(run, "secrets", PLAIN)?;
    scratch.say(&UP)?.succeeded(&[])?;
    mark(&scratch, "kept")?;
    let folder = scratch.root.join("secrets");
    fs::remove_file(folder.join("postgres_app_password"))?;
    scratch.say(&UP)?.succeeded(&[
        "made in secrets/: postgres_app_password",
        "the database has other passwords than secrets/:",
        "secrets/postgres_app_password (role slipway_app)",
        "no data is lost",
    ])?;
    scratch.ask(&["down"])?;
    fs::remove_dir_all(&folder)?;
    scratch.say(&UP)?.succeeded(&[
        "keys that they may need are missing",
        "secrets/postgres_superuser_password (role postgres)",
    ])?;
    ensure!(tables(&scratch, "kept")? == "1", "the data were lost");
    Ok(String::new())
}

/// Of the same folder name, the same port and, as a copy has it, the same state and secrets.
pub(super) fn two_checkouts(run: &Run) -> Result<String> {
    let port = ports::unused()?;
    let settings = format!("{PLAIN}API_PORT={port}\n");
    let one = Scratch::new(run, "a/shop", &settings)?;
    one.say(&UP)?.succeeded(&[])?;
    ensure!(address(&one, "api")? == format!("127.0.0.1:{port}"));
    mark(&one, "of_one")?;

    let two = Scratch::new(run, "b/shop", &settings)?;
    two.say(&UP)?.succeeded(&[
        &format!("port {port} is taken by the container `shop-"),
        "api listens on",
    ])?;
    ensure!(address(&one, "api")? != address(&two, "api")?);
    ensure!(tables(&two, "of_one")? == "0", "they share a database");
    mark(&two, "of_two")?;

    let copy = one.copy()?;
    copy.say(&["ps"])?.failed(&["nothing runs here"])?;
    copy.say(&["down", "--volumes", "--yes"])?.succeeded(&[])?;
    ensure!(
        tables(&one, "of_one")? == "1",
        "the copy took the original down"
    );
    // As when the name was written into `.env` before it was copied.
    let name = name(&one)?;
    fs::write(
        copy.root.join(".env"),
        format!("{settings}COMPOSE_PROJECT_NAME={name}\n"),
    )?;
    let belongs = format!("belong to the checkout at {}", one.root.display());
    for words in [&UP[..], &["down", "--volumes", "--yes"]] {
        copy.say(words)?
            .failed(&[&belongs, "COMPOSE_PROJECT_NAME"])?;
    }
    fs::write(copy.root.join(".env"), &settings)?;

    one.say(&["down", "--volumes", "--yes"])?.succeeded(&[])?;
    ensure!(
        tables(&two, "of_two")? == "1",
        "the other was taken down as well"
    );
    Ok(String::new())
}

fn mark(scratch: &Scratch, table: &str) -> Result<()> {
    scratch
        .ask(&["psql", "-qc", &format!("CREATE TABLE {table} ()")])
        .map(drop)
}

/// How many tables there are of this name.
fn tables(scratch: &Scratch, name: &str) -> Result<String> {
    let sql = format!("SELECT count(*) FROM pg_tables WHERE tablename = '{name}'");
    scratch.ask(&["psql", "-Atc", &sql])
}

fn address(scratch: &Scratch, service: &str) -> Result<String> {
    let document: Value = serde_json::from_str(&scratch.ask(&["ps", "--json"])?)?;
    let services = document["services"].as_array();
    let found = services
        .into_iter()
        .flatten()
        .find(|state| state["name"] == service);
    let address = found.and_then(|state| state["address"].as_str());
    Ok(address.context("it has no address")?.to_owned())
}

/// The name of its project.
fn name(scratch: &Scratch) -> Result<String> {
    Ok(crate::project::Project::at(&scratch.root)?
        .name()
        .to_owned())
}
