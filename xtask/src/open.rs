//! `cargo xtask open`: what the stack shows to a browser.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::nearest::unknown;
use crate::project::Project;
use crate::stack::{self, Link};
use crate::terminal;

/// What is opened when nothing is named.
const USUAL: &str = "docs";

/// All that may be named, in one mode or the other.
pub(crate) const WORDS: [&str; 11] = [
    "api",
    "docs",
    "jobs",
    "proxy",
    "mail",
    "postgres",
    "redis",
    "metrics",
    "worker-metrics",
    "prometheus",
    "logs",
];

/// Opens this address in the browser, and prints it; only prints it where no browser can be seen.
///
/// # Errors
/// When nothing runs, or nothing is known by that word; the sentence lists what is.
pub(crate) fn run(project: &Project, word: Option<&str>) -> Result<()> {
    let word = word.unwrap_or(USUAL);
    let links = stack::running(project)?.links()?;
    let link = find(&links, word)?;
    terminal::print(&link.address);
    if is_for_a_browser(&link.address) && std::io::stdout().is_terminal() {
        open(&link.address);
    }
    Ok(())
}

fn find<'a>(links: &'a [Link], word: &str) -> Result<&'a Link> {
    links
        .iter()
        .find(|link| link.word == word)
        .with_context(|| {
            let words: Vec<&str> = links.iter().map(|link| link.word).collect();
            unknown("no address for", word, &words)
        })
}

/// A URL or a folder: not the port of a database, nor a sentence.
fn is_for_a_browser(address: &str) -> bool {
    address.starts_with("http") || address.starts_with('/')
}

/// Hands it to the desktop. Without one, the printed address is all there is to do.
fn open(address: &str) {
    let Some(program) = opener() else { return };
    // Neither waited for nor listened to: some browsers stay, and talk.
    let opened = Command::new(program)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if opened.is_err() {
        terminal::note(&format!("`{program}` is not installed: open it by hand"));
    }
}

/// The desktop's own program for it. None where there is no desktop.
#[expect(
    clippy::disallowed_methods,
    reason = "they are the desktop's, not settings"
)]
fn opener() -> Option<&'static str> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if cfg!(target_os = "macos") {
        Some("open")
    } else if is_set("WSL_DISTRO_NAME") {
        Some("explorer.exe")
    } else if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
        Some("xdg-open")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_by_their_word() {
        let links = Link::of_api("http://127.0.0.1:8001");
        assert_eq!(
            find(&links, "docs").unwrap().address,
            "http://127.0.0.1:8001/docs"
        );
        assert_eq!(
            find(&links, "jobs").unwrap().address,
            "http://127.0.0.1:8001/admin"
        );
        let error = find(&links, "dosc").unwrap_err().to_string();
        assert_eq!(
            error,
            "no address for `dosc`; did you mean `docs`?\n  next: name one of api, docs, jobs"
        );
    }

    #[test]
    fn a_database_is_nothing_for_a_browser() {
        assert!(is_for_a_browser("http://127.0.0.1:8000/docs"));
        assert!(is_for_a_browser("/shop/.slipway/mail"));
        assert!(!is_for_a_browser("127.0.0.1:5432"));
        assert!(!is_for_a_browser("sent through mail.example.com"));
    }
}
