//! What has to be there before anything is deployed. Each check says one thing to do.

use anyhow::{Result, bail};

use super::commands::{Swarm, words};
use super::stack_file::StackFile;
use crate::project::Project;
use crate::terminal::{self, GREEN};

/// Makes every check, tells of each, and returns how many machines the Swarm has.
///
/// # Errors
/// With the first thing that is missing.
pub(super) fn all(project: &Project, file: &StackFile, swarm: &Swarm) -> Result<usize> {
    let environment = environment(project)?;
    told("environment", &environment);
    told("settings", &settings(project, file)?);
    told("secrets", &secrets(file)?);
    let nodes = self::swarm(swarm)?;
    let machines = if nodes == 1 { "machine" } else { "machines" };
    told("swarm", &format!("active, {nodes} {machines}"));
    told("image", &image(project, swarm, nodes)?);
    Ok(nodes)
}

fn told(name: &str, finding: &str) {
    terminal::note(&format!(
        "  {} {name:<12} {finding}",
        terminal::mark(GREEN, "ok")
    ));
}

fn environment(project: &Project) -> Result<String> {
    let environment = project.settings()?.get("APP_ENV");
    match environment.filter(|name| matches!(name.as_str(), "staging" | "production")) {
        Some(environment) => Ok(environment),
        None => bail!(
            "APP_ENV is neither staging nor production: a deployment is not for development\n  \
             next: set APP_ENV=production in .env"
        ),
    }
}

fn settings(project: &Project, file: &StackFile) -> Result<String> {
    let settings = project.settings()?;
    let required = file.required();
    let is_missing = |name: &str| settings.get(name).is_none();
    let missing: Vec<String> = required
        .iter()
        .filter(|one| is_missing(&one.name))
        .map(|one| format!("\n    {:<14} {}", one.name, one.meaning))
        .collect();
    if !missing.is_empty() {
        bail!(
            "docker/stack.yml wants settings that are not there:{}\n  next: write them into .env",
            missing.concat()
        );
    }
    Ok(format!("all {} that must be there are", required.len()))
}

fn secrets(file: &StackFile) -> Result<String> {
    let files = file.files("secrets");
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let there = path.metadata().is_ok_and(|file| file.len() > 0);
        if there {
            continue;
        }
        if crate::secrets::WORDS.contains(&&*name) || name == crate::secrets::REDIS_USERS {
            bail!(
                "secrets/{name} is not there\n  \
                 next: bring secrets/ along from where it was made, or cargo xtask up makes one"
            );
        }
        bail!(
            "secrets/{name} is not there, and only you know it\n  \
             next: printf %s VALUE > secrets/{name} && chmod 444 secrets/{name}"
        );
    }
    Ok(format!("{} files", files.len()))
}

/// Whether this machine manages a Swarm, and how many machines that has.
pub(super) fn swarm(swarm: &Swarm) -> Result<usize> {
    let format = "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}";
    let Ok(said) = swarm.read(&words(&["info", "--format", format])) else {
        bail!(
            "no Docker engine answers, and a deployment needs one\n  \
             next: start it, for example with systemctl start docker"
        );
    };
    match said.trim() {
        "active true" => {}
        "active false" => bail!(
            "this machine is a worker of a Swarm, and only a manager may deploy\n  \
             next: run it on a manager, or docker node promote this one from there"
        ),
        // An engine without a socket prints nothing and, in some versions, succeeds.
        "" | " " => bail!("the Docker engine does not answer\n  next: docker info"),
        _ => bail!(
            "this machine is in no Swarm\n  \
             next: docker swarm init, or with several addresses docker swarm init --advertise-addr ADDRESS"
        ),
    }
    let nodes = swarm.read(&words(&["node", "ls", "--quiet"]))?;
    Ok(nodes.lines().count().max(1))
}

/// Whether each machine can have the image: from a registry, or, for one alone, from itself.
fn image(project: &Project, swarm: &Swarm, nodes: usize) -> Result<String> {
    let image = project.settings()?.get("SLIPWAY_IMAGE").unwrap_or_default();
    let is_here = swarm.read(&words(&["image", "inspect", "--format", "{{.Id}}", &image]));
    if nodes == 1 && is_here.is_ok() {
        return Ok(format!("{image}, on this machine"));
    }
    if swarm.read(&words(&["manifest", "inspect", &image])).is_ok() {
        return Ok(format!("{image}, in its registry"));
    }
    match is_here {
        Ok(_) => bail!(
            "{image} is on this machine alone, and the Swarm has {nodes}\n  next: docker push {image}"
        ),
        Err(_) => bail!(
            "{image} is neither on this machine nor in a registry that answers\n  \
             next: docker build --file docker/Dockerfile --target runtime --tag {image} ."
        ),
    }
}
