//! The developer's command: `cargo xtask --help`.
//!
//! One file per verb. A verb takes a [`stack::Stack`] and does not know which of the two modes it
//! is in; `docker/` and `native/` implement it. To add a verb: a variant in [`cli::Verb`], its line
//! on the help page there, a file with `run`, and an arm in [`run`] below.
//!
//! Blocking code and threads, no async runtime: it has to compile in seconds on a bare clone.

// `eprintln!` panics when nobody reads any more: `terminal::note` does not.
#![warn(clippy::print_stderr)]

mod artifacts;
mod bench;
mod board;
mod build;
mod cargo;
mod chaos;
mod check;
mod ci;
mod cli;
mod clock;
mod completions;
mod db;
mod deploy;
mod dev;
mod diagnosis;
mod docker;
mod doctor;
mod dotenv;
mod down;
mod e2e;
mod exec;
mod fuzz;
mod generate;
mod interrupt;
mod logs;
mod migrate;
mod native;
mod nearest;
mod open;
mod openapi;
mod permission;
mod ports;
mod project;
mod ps;
mod rename;
mod restart;
mod scale;
mod secrets;
mod settings;
mod stack;
mod terminal;
mod test;
mod up;
mod verbose;
mod wait;
mod watch;

#[cfg(not(unix))]
compile_error!("this command needs Unix: on Windows, work inside WSL 2");

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Verb};
use crate::project::Project;
use crate::stack::Mode;

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let typed: Vec<String> = std::env::args().skip(1).collect();
        nearest::with_verb(error, &Cli::command(), &typed).exit()
    });
    if cli.verbose {
        verbose::switch_on();
    }
    let result = run(cli.verb);
    interrupt::settle();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&format!("{error:#}"));
            if error.is::<exec::NoProgram>() {
                return ExitCode::from(127);
            }
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    let project = Project::find()?;
    match verb {
        Verb::Up(args) => up::run(&project, &args),
        Verb::Dev(args) => dev::run(&project, &args),
        Verb::Down(args) => down::run(&project, &args),
        Verb::Restart { services } => restart::run(&project, &services),
        Verb::Ps { json } => ps::run(&project, json),
        Verb::Wait(args) => wait::run(&project, &args),
        Verb::Open { word } => open::run(&project, word.as_deref()),
        Verb::Logs(args) => logs::run(&project, args),
        Verb::Build => build::run(&project),
        Verb::Exec { service, command } => exec::run(&project, &service, &command),
        Verb::Psql { args } => exec::psql(&project, &args),
        Verb::RedisCli { args } => exec::redis_cli(&project, &args),
        Verb::Jobs { args } => exec::jobs(&project, args),
        Verb::Admin { args } => exec::admin(&project, args),
        Verb::Migrate { action } => migrate::run(
            &project,
            action.unwrap_or(migrate::Migrate::Run { args: Vec::new() }),
        ),
        Verb::Deploy(args) => deploy::run(&project, &args),
        Verb::Generate { what } => generate::run(&project, &what),
        Verb::Db { action } => db::run(&project, action),
        Verb::Rename(args) => rename::run(&project, &args),
        Verb::Openapi { check } => openapi::run(&project, check),
        Verb::Doctor(args) => doctor::run(&project, &args),
        Verb::Test { redis, args } => test::run(&project, redis, &args),
        Verb::Bench { what, args } => bench::run(&project, what, &args),
        Verb::Fuzz(args) => fuzz::run(&project, &args),
        Verb::Chaos(args) => chaos::run(&project, &args),
        Verb::Completions { shell } => completions::run(&project, shell),
        Verb::Check => check::run(&project),
        Verb::Ci => ci::run(&project),
        Verb::E2e { docker, native } => e2e::run(
            &project,
            docker
                .then_some(Mode::Docker)
                .or(native.then_some(Mode::Native)),
        ),
        Verb::Supervise { root } => native::supervise(&root),
        Verb::ThrowAway {
            postgres_only,
            docker,
        } => native::throw_away::keep(&project, !postgres_only, docker),
    }
}
