//! `cargo xtask deploy`: `docker/stack.yml` on a Docker Swarm, checked before and watched until it
//! stands.
//!
//! Data services first, then the migrations as a job, then the rest, which Swarm replaces one by
//! one and puts back when a new one does not become healthy. Works on containers alone: there is
//! nothing native about a Swarm.

mod checks;
mod commands;
mod rollout;
mod stack_file;
mod state;

use std::fs;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use self::commands::Swarm;
use self::rollout::Rollout;
use self::stack_file::StackFile;
use crate::project::Project;
use crate::stack::ServiceFailure;
use crate::terminal;

/// Options of `deploy`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Example: SLIPWAY_IMAGE=registry.example.org/slipway:1.4.0 cargo xtask deploy
  docs/deployment.md has what comes before the first time. Containers only."
)]
pub(crate) struct Deploy {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Check all, print each command, run none
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    stack: Name,
    #[command(flatten)]
    patience: Patience,
}

/// What `deploy` can do beside deploying.
#[derive(Subcommand)]
enum Verb {
    /// Put api and worker back to what they were before the last deployment
    ///
    /// The schema stays as it is: the release before this one can live with it.
    Rollback {
        /// Print each command, run none
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        stack: Name,
        #[command(flatten)]
        patience: Patience,
    },
    /// What runs: replicas, images, the last failure
    Status {
        /// For machines: {"stack", "services": [{"name", "state", "running", "desired", "image", "error"}]}
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        stack: Name,
    },
}

/// Which stack.
#[derive(Args)]
struct Name {
    /// The stack's name in the Swarm
    #[arg(long, default_value = "slipway")]
    stack: String,
}

/// How long to wait.
#[derive(Args)]
struct Patience {
    /// How long replicas have to become healthy, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    wait_timeout: u64,
}

/// Services that keep data: they are there before the migrations run.
const DATA: [&str; 2] = ["postgres", "redis"];
/// The job that migrates.
const MIGRATE: &str = "migrate";
/// Services of our image, which a rollback puts back.
const OURS: [&str; 2] = ["api", "worker"];

/// Deploys, rolls back, or says how things stand.
pub(crate) fn run(project: &Project, args: &Deploy) -> Result<()> {
    match &args.verb {
        None => deploy(project, args),
        Some(Verb::Rollback {
            dry_run,
            stack,
            patience,
        }) => rollback(project, &stack.stack, patience.wait_timeout, *dry_run),
        Some(Verb::Status { json, stack }) => status(project, &stack.stack, *json),
    }
}

fn deploy(project: &Project, args: &Deploy) -> Result<()> {
    let (stack, dry_run) = (&args.stack.stack, args.dry_run);
    let file = StackFile::read(project)?;
    let environment = file.environment(project)?;
    let swarm = Swarm::new(project, stack, environment);
    let nodes = checks::all(project, &file, &swarm)?;

    let whole = swarm.read(&commands::config())?;
    let (mut data, mut job, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for service in stack_file::services(&whole) {
        let stage = match service.as_str() {
            name if DATA.contains(&name) => &mut data,
            MIGRATE => &mut job,
            _ => &mut rest,
        };
        stage.push(service);
    }
    let stages = [
        ("1-data.yml", data),
        ("2-migrate.yml", job),
        ("3-services.yml", rest),
    ];
    let folder = project.state_dir().join("deploy");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    if dry_run {
        terminal::print(&swarm.shown(&commands::config()));
    }
    for (name, services) in stages {
        // A stack with a managed database has no service for it.
        if services.is_empty() {
            continue;
        }
        let path = folder.join(name);
        fs::write(&path, stack_file::with_services(&whole, &services))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        let command = commands::deploy(&path, stack, nodes == 1);
        if dry_run {
            terminal::print(&swarm.shown(&command));
            continue;
        }
        let rollout = Rollout::begin(&swarm, services)?;
        swarm.run(&command)?;
        let Err(error) = rollout.follow(args.patience.wait_timeout) else {
            continue;
        };
        if error.is::<ServiceFailure>() {
            for service in rollout.undo(&OURS)? {
                terminal::note(&format!("{service} goes back as well"));
            }
        }
        return Err(error);
    }
    if dry_run {
        terminal::note("nothing was deployed: this was a dry run");
        return Ok(());
    }
    terminal::print(&state::table(&swarm.states()?));
    terminal::note("deployed\n  next: cargo xtask deploy status, or cargo xtask deploy rollback");
    Ok(())
}

fn rollback(project: &Project, stack: &str, seconds: u64, dry_run: bool) -> Result<()> {
    let swarm = Swarm::new(project, stack, Vec::new());
    checks::swarm(&swarm)?;
    let states = swarm.deployed()?;
    let back: Vec<String> = states
        .into_iter()
        .filter(|service| OURS.contains(&service.name.as_str()) && service.can_go_back())
        .map(|service| service.name)
        .collect();
    if back.is_empty() {
        bail!(
            "there is nothing to go back to: `{stack}` was deployed once, or is back already\n  \
             next: cargo xtask deploy status"
        );
    }
    let rollout = Rollout::begin(&swarm, back.clone())?.of_a_rollback();
    for service in back {
        let command = commands::rollback(stack, &service);
        if dry_run {
            terminal::print(&swarm.shown(&command));
        } else {
            swarm.run(&command)?;
        }
    }
    if dry_run {
        terminal::note("nothing was rolled back: this was a dry run");
        return Ok(());
    }
    rollout.follow(seconds)?;
    terminal::print(&state::table(&swarm.states()?));
    terminal::note("rolled back; the schema stays as it is");
    Ok(())
}

fn status(project: &Project, stack: &str, json: bool) -> Result<()> {
    let swarm = Swarm::new(project, stack, Vec::new());
    checks::swarm(&swarm)?;
    let states = swarm.deployed()?;
    terminal::print(&if json {
        state::document(stack, &states)
    } else {
        state::table(&states)
    });
    Ok(())
}
