//! The image that the services run, built with a line that says which layer is made.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};

use super::compose::Compose;
use crate::diagnosis;
use crate::project::Project;
use crate::stack::Mode;
use crate::terminal::{self, Progress, RED};
use crate::verbose::Shown as _;

/// How many lines of a failed layer are shown.
const LINES: usize = 30;

/// A build that took longer, in seconds, had something to do.
const NOTABLE: f64 = 3.0;

/// Builds the image that the services run. BuildKit finds in half a second that nothing changed.
pub(super) fn build(project: &Project, compose: &Compose, dev: bool) -> Result<()> {
    if let Some(image) = project.settings()?.get("SLIPWAY_IMAGE").filter(|_| !dev) {
        terminal::note(&format!(
            "image: {image}, as SLIPWAY_IMAGE says; nothing to build"
        ));
        return Ok(());
    }
    // One service carries the `build:` of each image.
    let service = if dev { "builder" } else { "migrate" };
    let mut child = compose
        .command(&["--progress", "plain", "build", service])
        // Where Compose would hand the build over, its progress has another form.
        .env("COMPOSE_BAKE", "false")
        .shown()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("`docker` cannot be started")?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("the output of `docker` cannot be read")
    };
    let progress = Progress::start("building the image");
    let layers = Mutex::new(Layers::default());
    thread::scope(|scope| {
        scope.spawn(|| narrate(stdout, &layers, &progress));
        narrate(stderr, &layers, &progress);
    });
    let status = child.wait()?;
    let seconds = progress.seconds();
    drop(progress);
    if !status.success() {
        let layers = layers.into_inner().unwrap_or_else(PoisonError::into_inner);
        return Err(layers.failure());
    }
    if seconds > NOTABLE {
        terminal::note(&format!("built the image in {seconds:.1} s"));
    }
    Ok(())
}

fn narrate(from: impl Read, layers: &Mutex<Layers>, progress: &Progress) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let mut layers = layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = layers.hear(&line) {
            progress.say(format!("building the image  {text}"));
        }
    }
}

/// What BuildKit has said of each layer, by its number: `#15 [migrate builder 4/4] RUN cargo ...`,
/// then `#15 0.533 Compiling ...`, at last `#15 DONE 41.2s`, `CACHED` or `ERROR: ...`.
#[derive(Default)]
struct Layers {
    layers: BTreeMap<u32, Layer>,
    /// Lines that belong to none: Compose's and Docker's own.
    others: Vec<String>,
    failed: Option<u32>,
}

#[derive(Default)]
struct Layer {
    /// `builder 4/4`
    name: String,
    lines: Vec<String>,
}

impl Layers {
    /// Takes a line; returns what is built now where the line says so.
    fn hear(&mut self, line: &str) -> Option<String> {
        let numbered = line.strip_prefix('#').and_then(|line| {
            let (number, rest) = line.split_once(' ')?;
            Some((number.parse().ok()?, rest))
        });
        let Some((number, rest)) = numbered else {
            self.others.push(line.to_owned());
            return None;
        };
        let layer = self.layers.entry(number).or_default();
        if let Some((name, _)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            // Compose puts its service before the stage.
            layer.name = name
                .split_once(' ')
                .map_or(name, |(_, name)| name)
                .to_owned();
            return Some(layer.name.clone());
        }
        if rest.starts_with("ERROR") {
            self.failed = Some(number);
        }
        if rest.starts_with("DONE") || rest.starts_with("CACHED") {
            return None;
        }
        let words = without_seconds(rest);
        layer.lines.push(words.to_owned());
        Some(format!("{}  {}", layer.name, brief(words)))
    }

    /// The end of the layer that failed, printed; then the error.
    fn failure(&self) -> anyhow::Error {
        let failed = self.failed.and_then(|number| self.layers.get(&number));
        let (name, lines) = match failed {
            Some(layer) => (layer.name.as_str(), &layer.lines),
            None => ("", &self.others),
        };
        let said: Vec<&String> = lines.iter().filter(|line| !is_progress(line)).collect();
        for line in &said[said.len().saturating_sub(LINES)..] {
            terminal::note(&format!("  {}{line}", terminal::mark(RED, "| ")));
        }
        let layer = if name.is_empty() {
            String::new()
        } else {
            format!(" at the layer `{name}`")
        };
        let all: Vec<String> = lines.iter().chain(&self.others).cloned().collect();
        match diagnosis::of(Mode::Docker, &all) {
            Some(known) => anyhow::anyhow!(
                "the image cannot be built{layer}: {}\n  next: {}",
                known.cause,
                known.next_step
            ),
            None if lines.iter().any(|line| line.contains("could not compile")) => anyhow::anyhow!(
                "the image cannot be built{layer}: the code does not compile, see above\n  \
                 next: `cargo xtask check` finds mistakes faster than an image build does"
            ),
            None => anyhow::anyhow!(
                "the image cannot be built{layer}: Docker's words are above\n  \
                 next: `cargo xtask doctor` looks for what Docker may lack"
            ),
        }
    }
}

/// The words after the seconds that BuildKit puts before a layer's output.
fn without_seconds(line: &str) -> &str {
    match line.split_once(' ') {
        Some((seconds, rest)) if seconds.parse::<f64>().is_ok() => rest,
        _ => line,
    }
}

/// Cargo's word and the crate of a line such as `   Compiling tokio v1.50.0`; others as they are.
fn brief(line: &str) -> String {
    let line = line.trim();
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("Compiling"), Some(name), Some(version)) if version.starts_with('v') => {
            name.to_owned()
        }
        _ => line.to_owned(),
    }
}

/// Whether this is what cargo says of what it does, rather than a mistake it found.
fn is_progress(line: &str) -> bool {
    let line = line.trim_start();
    let words = [
        "Compiling ",
        "Downloaded ",
        "Downloading ",
        "Updating ",
        "Locking ",
    ];
    words.iter().any(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_and_the_crate_are_told() {
        let mut layers = Layers::default();
        let step = "#15 [migrate builder 4/4] RUN cargo build --release";
        assert_eq!(layers.hear(step).as_deref(), Some("builder 4/4"));
        let line = "#15 33.89    Compiling worker v0.1.0 (/src/worker)";
        assert_eq!(layers.hear(line).as_deref(), Some("builder 4/4  worker"));
        assert_eq!(layers.hear("#15 DONE 41.2s"), None);
        let internal = "#16 [migrate internal] load .dockerignore";
        assert_eq!(layers.hear(internal).as_deref(), Some("internal"));
    }

    #[test]
    fn a_failed_layer_is_named_with_its_cause() {
        let mut layers = Layers::default();
        for line in [
            "#15 [migrate builder 4/4] RUN cargo build",
            "#15 2.1    Compiling api v0.1.0 (/src/api)",
            "#15 3.0 error[E0308]: mismatched types",
            "#15 3.1 error: could not compile `api` (lib) due to 1 previous error",
            "#15 ERROR: process \"/bin/sh -c cargo build\" did not complete",
        ] {
            layers.hear(line);
        }
        let error = layers.failure().to_string();
        assert!(
            error.contains("`builder 4/4`: the code does not compile"),
            "{error}"
        );
        layers.hear("#15 3.2 No space left on device");
        let error = layers.failure().to_string();
        assert!(error.contains("the disk is full"), "{error}");
    }
}
