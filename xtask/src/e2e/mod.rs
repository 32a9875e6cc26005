//! `cargo xtask e2e`: drives the running stack from outside, as a client would.
//!
//! The scenario is the same in both modes. It signs up, reads the mail, logs
//! in, tries what a careless client would send, and then takes parts of the
//! stack away while it is in use.

mod accounts;
pub(crate) mod client;
mod data;
mod failures;
mod faults;
mod looking;
pub(crate) mod mail;
mod pages;
mod product;
mod webhooks;

use std::{
    cell::Cell,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    permission::refuse_protected,
    project::Project,
    stack::{self, Mode, Stack},
};
use client::Client;
use mail::Mailbox;

/// The password of every account that the scenario makes.
const PASSWORD: &str = "correct horse battery staple";

/// What each step works with.
struct Run<'a> {
    root: &'a Path,
    stack: &'a dyn Stack,
    client: Client,
    mailbox: Mailbox,
    /// Makes the addresses of this run unlike those of any other.
    stamp: u64,
    accounts: Cell<u32>,
}

type Step = fn(&Run) -> Result<String>;

/// The scenario, in order. A step returns what is worth saying about it.
const STEPS: [(&str, Step); 22] = [
    ("the service names itself and is ready", product::ready),
    ("sign up, read the mail, verify, log in", product::sign_up),
    (
        "a known address gets the same answer",
        product::known_address,
    ),
    ("a token works once", product::token_works_once),
    ("refresh, a token used twice, log out", product::sessions),
    (
        "a forgotten password is replaced by mail",
        accounts::reset_password,
    ),
    ("an admin is made and unmade", accounts::admins),
    ("wrong requests get problem documents", product::problems),
    ("answers carry the security headers", product::headers),
    ("the queues can be looked into", product::queues),
    (
        "an admin sees the jobs page, and pauses a queue",
        pages::jobs,
    ),
    ("logs are readable, or raw", looking::logs),
    ("the schema is told and judged", looking::migrations),
    ("prompts take a pipe and give their code", looking::prompts),
    (
        "an event sent twice is told once, and its delivery seen",
        webhooks::deliveries,
    ),
    (
        "a worker killed with SIGKILL loses no mail",
        faults::worker_killed,
    ),
    (
        "Redis restarted under load loses no mail",
        faults::redis_restarted,
    ),
    (
        "Postgres away is a 503, and heals by itself",
        faults::postgres_away,
    ),
    (
        "a backup is proven, and brings back what was deleted",
        data::backup_and_restore,
    ),
    (
        "new passwords are taken, and the old ones refused",
        data::rotate_passwords,
    ),
    (
        "each of two workers has a name that verbs take",
        data::two_workers,
    ),
    (
        "what was stored is there after down and up",
        faults::down_and_up,
    ),
];

/// Runs the scenario against the stack, which is brought up first where it is
/// not, and is left as it was found.
pub(crate) fn run(project: &Project, mode: Option<Mode>) -> Result<()> {
    // It stops servers, and puts the database back to what it was a moment before.
    refuse_protected(project)?;
    let mode = mode.or(project.mode());
    let found = runs(project, mode);
    crate::up::bring_up(project, mode)?;
    let stack = stack::current(project)?;
    let guard = (!found).then(|| crate::up::takes_down(project, stack.mode()));
    let outcome = scenario(project, stack.as_ref());
    if guard.is_some() {
        stack.down(false)?;
    }
    outcome
}

/// Whether the stack of this mode was up before.
fn runs(project: &Project, mode: Option<Mode>) -> bool {
    let Ok(stack) = stack::current(project) else {
        return false;
    };
    let services = stack.ps().unwrap_or_default();
    mode == Some(stack.mode()) && services.iter().any(|service| service.state == "running")
}

fn scenario(project: &Project, stack: &dyn Stack) -> Result<()> {
    let run = Run {
        root: project.root(),
        stack,
        client: Client::new(&address(stack, "api")?),
        mailbox: match stack.mode() {
            Mode::Native => Mailbox::Folder(project.state_dir().join("mail")),
            Mode::Docker => Mailbox::MailDev(address(stack, "maildev")?),
        },
        stamp: SystemTime::UNIX_EPOCH.elapsed()?.as_millis() as u64,
        accounts: Cell::new(0),
    };
    println!("end to end, {} mode", stack.mode());
    let start = Instant::now();
    let mut steps = [&STEPS[..], &failures::STEPS].concat();
    if stack.mode() == Mode::Docker {
        steps.extend(failures::IN_DOCKER);
    }
    for (name, step) in &steps {
        let begun = Instant::now();
        let said = step(&run).with_context(|| format!("e2e: {name}"))?;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "  ok {seconds:>6.1} s  {name}{}{said}",
            if said.is_empty() { "" } else { ": " }
        );
    }
    println!(
        "{} passed, 0 failed in {:.1} s",
        steps.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn address(stack: &dyn Stack, service: &str) -> Result<String> {
    let services = stack.ps()?;
    let found = services.into_iter().find(|state| state.name == service);
    found
        .and_then(|state| state.address)
        .with_context(|| format!("{service} has no address on this machine"))
}

impl Run<'_> {
    /// What this very command says, asked as a developer would. Some verbs end in another program,
    /// and so need a process of their own.
    fn command(&self, words: &[&str]) -> Result<String> {
        let output = Command::new(std::env::current_exe()?)
            .args(words)
            .current_dir(self.root)
            .stdin(Stdio::null())
            .output()?;
        let (said, complaint) = (output.stdout, output.stderr);
        ensure!(
            output.status.success(),
            "{} failed: {}",
            words.join(" "),
            String::from_utf8_lossy(&complaint)
        );
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// An address that nobody has used before.
    fn new_address(&self) -> String {
        self.accounts.set(self.accounts.get() + 1);
        format!("e2e-{}-{}@example.org", self.stamp, self.accounts.get())
    }

    /// Asks until the API is ready, and says how long that took.
    fn until_ready(&self, within: Duration) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let answer = self.client.get("/readyz");
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > within {
                let last = answer.map(|answer| answer.body);
                anyhow::bail!("not ready after {} s: {last:?}", within.as_secs());
            }
            crate::clock::pause(Duration::from_millis(100));
        }
    }
}
