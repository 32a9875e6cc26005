//! Calling cargo from a command that cargo itself has started.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Result, anyhow, bail};

use crate::interrupt;
use crate::project::Project;
use crate::terminal::{self, Progress};
use crate::verbose::Shown as _;

/// Variables that `cargo run` sets for us, by their beginnings.
const SET_BY_CARGO: [&str; 4] = [
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
];

/// A cargo that runs in the checkout as if it was started by hand.
pub(crate) fn command(project: &Project) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(project.root());
    forget_ours(&mut cargo);
    cargo
}

/// Takes away what `cargo run` has set for this process. Build scripts watch some of it (ring's
/// watches `CARGO_PKG_NAME`): with ours in place, a build from here and one by hand would undo each
/// other, a minute each time.
pub(crate) fn forget_ours(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| SET_BY_CARGO.iter().any(|start| name.starts_with(start)))
        {
            command.env_remove(name);
        }
    }
}

/// Variables that [`compile`] sets. A cargo in a container has to be given them.
pub(crate) const SET_FOR_A_BUILD: [&str; 3] = [
    "CARGO_TERM_COLOR",
    "CARGO_TERM_PROGRESS_WHEN",
    "CARGO_TERM_PROGRESS_WIDTH",
];

/// What cargo says of its own work, right-aligned at the beginning of a line. We have a line for it.
const STATUS: [&str; 12] = [
    "Adding",
    "Blocking",
    "Building",
    "Checking",
    "Compiling",
    "Downloaded",
    "Downloading",
    "Fetch",
    "Finished",
    "Fresh",
    "Locking",
    "Updating",
];

/// Runs a cargo that compiles: its progress is one line, what the compiler says is shown whole.
/// Each line of its standard output goes to `take`. Returns the seconds that it took.
///
/// # Errors
/// When cargo cannot be started, or fails; then it has said why.
pub(crate) fn compile(mut cargo: Command, mut take: impl FnMut(&str)) -> Result<f64> {
    let colour = if terminal::stderr_in_colour() {
        "always"
    } else {
        "never"
    };
    // Progress although nobody watches: its numbers are read below. The width keeps all names.
    let values = [colour, "always", "200"];
    let mut child = cargo
        .envs(SET_FOR_A_BUILD.into_iter().zip(values))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .shown()
        .spawn()
        .map_err(|error| not_started(&error))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("cargo's output cannot be read")
    };
    // A Ctrl-C reaches it from the terminal, a SIGTERM does not.
    let _guard = interrupt::ends_with_us(&child);
    let progress = Progress::start("building");
    thread::scope(|scope| {
        scope.spawn(|| narrate(stderr, &progress));
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            take(&line);
        }
    });
    let status = child.wait()?;
    let seconds = progress.seconds();
    drop(progress);
    if !status.success() {
        bail!("the build failed; the compiler says why above");
    }
    Ok(seconds)
}

fn not_started(error: &std::io::Error) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => anyhow!(
            "cargo cannot be started: it is in no folder of PATH\n  \
             next: install Rust from https://rustup.rs, and open a new shell"
        ),
        _ => anyhow!("cargo cannot be started: {error}\n  next: `cargo xtask doctor`"),
    }
}

/// Reads cargo's standard error to its end: its progress into the line, all else above it.
fn narrate(stderr: impl Read, progress: &Progress) {
    let mut piece = Vec::new();
    for byte in BufReader::new(stderr).bytes().map_while(Result::ok) {
        // A progress line ends with the return to its beginning.
        if !matches!(byte, b'\n' | b'\r') {
            piece.push(byte);
            continue;
        }
        let text = String::from_utf8_lossy(&piece);
        match hear(&text) {
            Heard::Progress(text) => progress.say(text),
            Heard::Words(words) => terminal::note(words),
            Heard::Nothing => {}
        }
        piece.clear();
    }
}

/// What a piece of cargo's standard error is.
#[derive(Debug, PartialEq)]
enum Heard<'a> {
    /// How far it is, as our line says it.
    Progress(String),
    /// What the compiler or cargo has to say.
    Words(&'a str),
    Nothing,
}

fn hear(piece: &str) -> Heard<'_> {
    let words = piece.trim_start_matches("\x1b[K");
    let plain = terminal::plain(words);
    let (status, rest) = plain.trim_start().split_once(' ').unwrap_or_default();
    if !plain.starts_with(' ') || !STATUS.contains(&status) {
        return Heard::Words(words);
    }
    let rest = rest.trim();
    match (
        status,
        rest.split_once("] ").filter(|_| rest.starts_with('[')),
    ) {
        ("Building", Some((_, counts))) => {
            let (counts, names) = counts.split_once(": ").unwrap_or((counts, ""));
            let (done, all) = counts.split_once('/').unwrap_or((counts, ""));
            // Cargo names a crate once for each target of it.
            let mut names: Vec<&str> = names.split(", ").collect();
            names.dedup();
            let names = names.join(", ");
            Heard::Progress(format!("building  {done:>0$}/{all}  {names}", all.len()))
        }
        ("Blocking", _) => Heard::Progress("waiting for another cargo that builds here".to_owned()),
        ("Fetch", Some((_, rest))) => Heard::Progress(format!("asking the registry  {rest}")),
        ("Downloading" | "Downloaded", None) => Heard::Progress(format!("downloading  {rest}")),
        _ => Heard::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_rust_is_told_where_to_get_it() {
        let error = compile(Command::new("/nowhere/cargo"), |_| {}).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("next: install Rust from https://rustup.rs"),
            "{error}"
        );
    }

    #[test]
    fn cargos_progress_becomes_our_line() {
        let line =
            "\x1b[1m\x1b[96m    Building\x1b[0m [==>    ] 31/418: tokio, tokio, ring(build)      ";
        let expected = "building   31/418  tokio, ring(build)".to_owned();
        assert_eq!(hear(line), Heard::Progress(expected));
        let blocked = "    Blocking waiting for file lock on build directory";
        assert!(matches!(hear(blocked), Heard::Progress(_)));
        let fetched = "       Fetch [==>   ] 181 complete; 83 pending";
        let expected = "asking the registry  181 complete; 83 pending".to_owned();
        assert_eq!(hear(fetched), Heard::Progress(expected));
    }

    #[test]
    fn what_the_compiler_says_is_left_as_it_is() {
        for words in [
            "\x1b[1m\x1b[33mwarning\x1b[0m: unused variable",
            "  \x1b[1m\x1b[94m|\x1b[0m",
            " --> src/main.rs:1:22",
            "error: could not compile `toy`",
            "",
        ] {
            assert_eq!(
                hear(&format!("\x1b[K{words}")),
                Heard::Words(words),
                "{words}"
            );
        }
        for status in [
            "   Compiling toy v0.1.0 (/toy)",
            "    Finished `dev` profile",
        ] {
            assert_eq!(hear(status), Heard::Nothing);
        }
    }
}
