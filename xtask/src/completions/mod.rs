//! `cargo xtask completions`: a script that completes `cargo xtask <TAB>`.
//!
//! clap makes the completion of a program `xtask` from the list of verbs. A shell asks cargo's own
//! completion about `cargo xtask`, and only that of zsh asks further; so each script here ends in a
//! hook that takes the words behind `cargo xtask` to ours, and all others to cargo's.

use std::fs;
use std::path::Path;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::Shell as Generator;

use crate::cli::Cli;
use crate::open;
use crate::project::Project;
use crate::terminal;

/// Shells that there is a script for.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    fn generator(self) -> Generator {
        match self {
            Self::Bash => Generator::Bash,
            Self::Zsh => Generator::Zsh,
            Self::Fish => Generator::Fish,
        }
    }

    /// What leads from cargo's completion to ours.
    fn hook(self) -> &'static str {
        match self {
            Self::Bash => include_str!("hook.bash"),
            Self::Zsh => include_str!("hook.zsh"),
            Self::Fish => include_str!("hook.fish"),
        }
    }
}

/// Arguments that name a service, with their verbs.
const OF_SERVICES: [(&str, &str); 5] = [
    ("up", "services"),
    ("wait", "services"),
    ("logs", "services"),
    ("restart", "services"),
    ("exec", "service"),
];

/// The verbs of `worker jobs` and `api admin`, which this command hands its words to.
const JOBS: [&str; 11] = [
    "list",
    "show",
    "retry",
    "delete",
    "cancel",
    "pause",
    "resume",
    "run",
    "schedules",
    "workers",
    "load",
];
const ADMIN: [&str; 3] = ["list", "grant", "revoke"];

/// Prints the script.
pub(crate) fn run(project: &Project, shell: Shell) -> Result<()> {
    terminal::print(script(project.root(), shell).trim_end());
    Ok(())
}

fn script(root: &Path, shell: Shell) -> String {
    let mut verbs = verbs(&services(root));
    let mut script = Vec::new();
    clap_complete::generate(shell.generator(), &mut verbs, "xtask", &mut script);
    String::from_utf8_lossy(&script).into_owned() + "\n" + shell.hook()
}

/// The command line, with the names of services, and of addresses, where they are wanted.
fn verbs(services: &[String]) -> Command {
    let mut verbs = shown(&Cli::command()).name("xtask");
    // clap wants names that stay; the process ends soon.
    let names: Vec<&'static str> = services.iter().map(|name| &*name.clone().leak()).collect();
    let of_services = OF_SERVICES.map(|(verb, argument)| (verb, argument, &names[..]));
    for (verb, argument, names) in of_services.into_iter().chain([
        ("open", "word", &open::WORDS[..]),
        ("jobs", "args", &JOBS[..]),
        ("admin", "args", &ADMIN[..]),
    ]) {
        let names = PossibleValuesParser::new(names.to_vec());
        // `mut_arg` would make it the last.
        let named = |wanted: clap::Arg| {
            if wanted.get_id() == argument {
                wanted.value_parser(names.clone())
            } else {
                wanted
            }
        };
        verbs = verbs.mut_subcommand(verb, |verb| verb.mut_args(named));
    }
    verbs
}

/// The command without its hidden verbs, which the generators would offer.
fn shown(command: &Command) -> Command {
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let verbs: Vec<Command> = verbs.map(shown).collect();
    if verbs.is_empty() {
        return command.clone();
    }
    let about = command.get_about().cloned().unwrap_or_default();
    Command::new(&*command.get_name().to_owned().leak())
        .about(about)
        .disable_help_subcommand(true)
        .args(command.get_arguments().cloned())
        .subcommands(verbs)
}

/// The keys below `services:` in the Compose file; native mode has no others.
fn services(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("docker-compose.yml")).unwrap_or_default();
    let lines = text.lines().skip_while(|line| *line != "services:").skip(1);
    lines
        .take_while(|line| line.is_empty() || line.starts_with([' ', '#']))
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with([' ', '#']))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn the_services_are_those_of_the_compose_file() {
        let names = services(&root());
        for name in ["api", "worker", "postgres", "redis", "migrate"] {
            assert!(names.iter().any(|found| found == name), "{names:?}");
        }
        assert!(names.iter().all(|name| !name.contains(['#', ' ', ':'])));
    }

    #[test]
    fn every_verb_that_takes_services_has_their_names() {
        verbs(&["api".to_owned()]).debug_assert();
        for (verb, argument) in OF_SERVICES {
            let verbs = verbs(&["one-of-ours".to_owned()]);
            let verb = verbs.find_subcommand(verb).unwrap();
            let mut arguments = verb.get_arguments();
            let found = arguments.find(|found| found.get_id() == argument).unwrap();
            assert_eq!(found.get_possible_values()[0].get_name(), "one-of-ours");
        }
    }

    #[test]
    fn hidden_verbs_stay_hidden() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(&root(), shell);
            assert!(script.contains("restart") && !script.contains("supervise"));
            assert!(script.contains("rotate-password") && !script.contains("discard"));
            // For fish, the generator completes no words that are no options.
            assert!(shell == Shell::Fish || script.contains("schedules"));
        }
    }
}
