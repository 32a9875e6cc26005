//! Who uses the database, and how they let go of it.

use anyhow::{Result, bail};

use super::{DATABASE, superuser};
use crate::interrupt::{self, Guard};
use crate::project::Project;
use crate::stack::{self, Fault, Mode, Stack};
use crate::terminal;

/// Services and sessions that have the database open.
pub(super) struct Users {
    /// Services of ours that run, in the order of their start.
    services: Vec<String>,
    /// Role, program and number of connections, as one reads them.
    sessions: Vec<String>,
}

impl Users {
    /// Who they are now.
    pub(super) fn of(stack: &dyn Stack) -> Result<Self> {
        let mut services: Vec<String> = stack
            .ps()?
            .into_iter()
            .filter(|service| service.state != "exited")
            .map(|service| service.name)
            .filter(|name| ["api", "worker"].iter().any(|ours| name.starts_with(ours)))
            .collect();
        services.dedup();
        let sql = format!(
            "SELECT usename || coalesce(' (' || nullif(application_name, '') || ')', '')
                    || ': ' || count(*) || ' connections'
               FROM pg_stat_activity
              WHERE datname = '{DATABASE}' AND backend_type = 'client backend'
              GROUP BY usename, application_name ORDER BY 1;"
        );
        let sessions = superuser(stack, "postgres", &sql)?;
        Ok(Self {
            services,
            sessions: sessions.lines().map(str::to_owned).collect(),
        })
    }

    /// Whether they may be sent away: a yes on a terminal, or `force`.
    ///
    /// # Errors
    /// Names them, and the call that does it.
    pub(super) fn permit(&self, force: bool, command: &str) -> Result<()> {
        if force || (self.services.is_empty() && self.sessions.is_empty()) {
            return Ok(());
        }
        let services = if self.services.is_empty() {
            "no service of this stack runs".to_owned()
        } else {
            format!("{} run", self.services.join(" and "))
        };
        let mut said = format!("the database is in use: {services}");
        for session in &self.sessions {
            said.push_str(&format!("\n    {session}"));
        }
        if terminal::is_interactive() {
            terminal::note(&said);
            let question = "Stop the services, end these connections, and start the services again \
                            afterwards?";
            if terminal::confirm(question)? {
                return Ok(());
            }
            bail!("nothing was changed");
        }
        bail!(
            "{said}\n  next: `{command}` stops the services, ends the connections, and starts the \
             services again afterwards"
        )
    }

    /// Stops the services, does it, and starts them again unless that is to be left; also when it
    /// fails, and on Ctrl-C, which waits until it is done. Sessions of others end with what is done.
    pub(super) fn without<T>(
        &self,
        project: &Project,
        stack: &dyn Stack,
        action: impl FnOnce() -> Result<(T, Start)>,
    ) -> Result<T> {
        let mut guard = Some(self.start_again_on_signal(project, stack.mode()));
        let mut services = self.services.iter().rev();
        let stopped = services.try_for_each(|service| stack.inflict(service, Fault::Stop));
        let outcome = stopped.and_then(|()| {
            interrupt::whole(|| {
                let outcome = action();
                if matches!(outcome, Ok((_, Start::Not))) {
                    guard = None;
                }
                outcome
            })
        });
        interrupt::settle();
        let started = if guard.is_some() {
            start(stack, &self.services)
        } else {
            Ok(())
        };
        let (value, _) = outcome?;
        started?;
        Ok(value)
    }

    fn start_again_on_signal(&self, project: &Project, mode: Mode) -> Guard {
        let (root, services) = (project.root().to_owned(), self.services.clone());
        interrupt::guard(move || {
            if services.is_empty() {
                return;
            }
            terminal::note("\ninterrupted: starting what was stopped (Ctrl-C again leaves it so)");
            let started = Project::at(&root)
                .and_then(|project| start(stack::of(mode, &project)?.as_ref(), &services));
            if let Err(error) = started {
                terminal::warn(&format!(
                    "{error:#}\n  next: `cargo xtask up` starts the rest"
                ));
            }
        })
    }
}

/// Starts each of them, and fails with the first that does not.
fn start(stack: &dyn Stack, services: &[String]) -> Result<()> {
    let started = services
        .iter()
        .map(|name| stack.inflict(name, Fault::Start));
    started.fold(Ok(()), Result::and)
}

/// Whether services find a schema that is theirs.
pub(super) enum Start {
    Again,
    Not,
}
