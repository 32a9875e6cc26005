//! `cargo xtask dev`: the stack, and what was edited in place of what was there within seconds.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use clap::Args;

use crate::artifacts::{Artifacts, Made};
use crate::cargo;
use crate::interrupt;
use crate::logs;
use crate::project::Project;
use crate::ps;
use crate::stack::{self, Mode, Stack, UpOptions};
use crate::terminal::{self, BOLD, DIM, GREEN, RED};
use crate::up;
use crate::watch::{SETTINGS, Save, Watch};

/// The services that are built here, in the order in which they are replaced.
const SERVICES: [&str; 2] = ["api", "worker"];

/// A wait that is left out of the line when it is shorter.
const WORTH_TELLING: Duration = Duration::from_millis(100);

/// Options of `dev`.
#[derive(Args)]
pub(crate) struct Dev {
    /// In containers, with Docker Compose
    #[arg(long, conflicts_with = "native")]
    docker: bool,
    /// As processes of this machine
    #[arg(long)]
    native: bool,
    /// Answer every question with yes
    #[arg(long, short)]
    yes: bool,
}

/// Brings the stack up and replaces what was edited, until Ctrl-C.
pub(crate) fn run(project: &Project, args: &Dev) -> Result<()> {
    let _lock = only_one(project)?;
    // Before the first build: what is saved while it runs is built after it.
    let watch = Watch::start(project.root());
    let forced = args
        .docker
        .then_some(Mode::Docker)
        .or(args.native.then_some(Mode::Native));
    let options = UpOptions {
        dev: true,
        yes: args.yes,
        ..UpOptions::default()
    };
    let (stack, services) = up::start(project, forced, &options)?;
    terminal::print(&format!("\n{}\n", ps::table(&services, true)));
    terminal::note(&format!(
        "{} the source: save a file, and what is built from it is replaced. Ctrl-C ends that.",
        terminal::mark(BOLD, "watching")
    ));
    let _guard = interrupt::guard(|| {
        terminal::farewell(
            "no longer watching; the stack goes on as it is: `cargo xtask down` stops it",
        );
    });
    let (root, mode) = (project.root().to_owned(), stack.mode());
    // Not in a scope: it never ends by itself.
    thread::spawn(move || follow_logs(&root, mode));
    Loop {
        stack: stack.as_ref(),
        watch,
        artifacts: Artifacts::default(),
        is_schema_due: false,
    }
    .run()
}

/// Two would build the same and replace each other's.
fn only_one(project: &Project) -> Result<File> {
    project.make_state_dir()?;
    let lock = File::create(project.state_dir().join("dev.lock"))?;
    if lock.try_lock().is_err() {
        bail!(
            "another `cargo xtask dev` watches this checkout\n  \
             next: end it with Ctrl-C; `cargo xtask logs -f` shows the logs in a second terminal"
        );
    }
    Ok(lock)
}

/// Prints what our own services say from now on.
fn follow_logs(root: &Path, mode: Mode) {
    let services = SERVICES.map(str::to_owned).to_vec();
    let followed =
        Project::at(root).and_then(|project| logs::follow(&*stack::of(mode, &project)?, services));
    if let Err(error) = followed {
        terminal::warn(&format!("the logs are no longer shown: {error:#}"));
    }
}

struct Loop<'a> {
    stack: &'a dyn Stack,
    watch: Watch,
    /// What was built and is not running yet.
    artifacts: Artifacts,
    /// A migration was written and is not applied yet.
    is_schema_due: bool,
}

impl Loop<'_> {
    fn run(mut self) -> Result<()> {
        loop {
            let save = self.watch.next();
            let noticed = Instant::now();
            let moments = Moments {
                saved: noticed - age(save.at),
                noticed,
            };
            terminal::note(&format!(
                "{} {}",
                terminal::mark(DIM, "saved"),
                listed(&save)
            ));
            if save.files.iter().any(|file| file == Path::new(SETTINGS)) {
                terminal::note("settings are read at a start: `cargo xtask up`");
                if save.files.len() == 1 {
                    continue;
                }
            }
            if let Err(error) = self.answer(&save, &moments) {
                self.still_up()?;
                terminal::error(&format!("{error:#}"));
            }
        }
    }

    /// Builds, and replaces what came out anew.
    fn answer(&mut self, save: &Save, moments: &Moments) -> Result<()> {
        self.is_schema_due |= save.files.iter().any(|file| {
            file.starts_with("migrations") && file.extension().is_some_and(|kind| kind == "sql")
        });
        self.artifacts.begin();
        let artifacts = &mut self.artifacts;
        if cargo::compile(self.stack.compiler()?, |line| artifacts.hear(line)).is_err() {
            interrupt::settle();
            self.still_up()?;
            terminal::note(&format!(
                "{} after {:.1} s: what ran before goes on; save a file to try again",
                terminal::mark(RED, "does not compile"),
                moments.noticed.elapsed().as_secs_f64()
            ));
            return Ok(());
        }
        if self.is_schema_due {
            self.stack.reload("migrate", &self.artifacts.binaries)?;
            self.is_schema_due = false;
        }
        let mut is_idle = true;
        for service in SERVICES {
            let Some(made) = self.artifacts.new.get(service).copied() else {
                continue;
            };
            let begun = Instant::now();
            self.stack.reload(service, &self.artifacts.binaries)?;
            self.artifacts.new.remove(service);
            terminal::print(&moments.line(service, made, begun, Instant::now()));
            is_idle = false;
        }
        if is_idle {
            terminal::note(&format!(
                "nothing that runs is built from it ({:.1} s)",
                moments.noticed.elapsed().as_secs_f64()
            ));
        }
        Ok(())
    }

    /// # Errors
    /// When nothing runs any more, as after a `down`: then no edit can be answered.
    fn still_up(&self) -> Result<()> {
        let services = self.stack.ps()?;
        if services.iter().all(|service| service.state == "exited") {
            bail!(
                "the stack was taken down\n  next: `cargo xtask dev` brings it up and watches again"
            );
        }
        Ok(())
    }
}

/// When an edit began to be one.
struct Moments {
    saved: Instant,
    noticed: Instant,
}

impl Moments {
    /// `api     edit to answer 2.4 s (noticed 0.1, compiled 1.3, linked 0.7, ready 0.3)`
    fn line(&self, service: &str, made: Made, begun: Instant, answered: Instant) -> String {
        // What an earlier build made only had to wait for this one.
        let linked = made.linked.max(self.noticed);
        let compiled = made.compiled.filter(|at| *at > self.noticed);
        let mut parts = vec![("noticed", self.noticed - self.saved)];
        match compiled {
            Some(compiled) => parts.extend([
                ("compiled", compiled - self.noticed),
                ("linked", linked - compiled),
            ]),
            None => parts.push(("built", linked - self.noticed)),
        }
        // For the rest of the build, a migration, or the service before it.
        let waited = begun - linked;
        if waited >= WORTH_TELLING {
            parts.push(("waited", waited));
        }
        parts.push(("ready", answered - begun));
        let parts: Vec<String> = parts
            .iter()
            .map(|(name, time)| format!("{name} {:.1}", time.as_secs_f64()))
            .collect();
        let total = format!("{:.1} s", (answered - self.saved).as_secs_f64());
        format!(
            "{}{} edit to answer {} ({})",
            terminal::paint(GREEN, service),
            " ".repeat(SERVICES[1].len() - service.len()),
            terminal::paint(BOLD, &total),
            parts.join(", ")
        )
    }
}

/// How long ago that was; nothing for a time that is yet to come.
fn age(at: SystemTime) -> Duration {
    at.elapsed().unwrap_or_default()
}

/// The first of the files, and how many more.
fn listed(save: &Save) -> String {
    let first = save.files.first().map(|file| file.display().to_string());
    match save.files.len() {
        0 | 1 => first.unwrap_or_default(),
        count => format!("{} and {} more", first.unwrap_or_default(), count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_line_are_its_sum() {
        let saved = Instant::now();
        let after = |millis| saved + Duration::from_millis(millis);
        let moments = Moments {
            saved,
            noticed: after(100),
        };
        let made = Made {
            compiled: Some(after(1400)),
            linked: after(2100),
        };
        assert_eq!(
            moments.line("api", made, after(2100), after(2400)),
            "api    edit to answer 2.4 s (noticed 0.1, compiled 1.3, linked 0.7, ready 0.3)"
        );
        let main = Made {
            compiled: None,
            linked: after(800),
        };
        assert_eq!(
            moments.line("worker", main, after(1800), after(2000)),
            "worker edit to answer 2.0 s (noticed 0.1, built 0.7, waited 1.0, ready 0.2)"
        );
        let before = Made {
            compiled: Some(saved),
            linked: saved,
        };
        assert_eq!(
            moments.line("api", before, after(100), after(500)),
            "api    edit to answer 0.5 s (noticed 0.1, built 0.0, ready 0.4)"
        );
    }
}
