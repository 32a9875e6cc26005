//! How the command speaks: colours where there is a terminal, progress, tables, questions.

mod live;
mod progress;

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::OnceLock;

use anyhow::{Result, bail};

pub(crate) use self::live::{Live, is_live};
pub(crate) use self::progress::Progress;

/// A colour or weight, as the parameter of an ANSI SGR sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style(&'static str);

pub(crate) const BOLD: Style = Style("1");
pub(crate) const DIM: Style = Style("2");
pub(crate) const RED: Style = Style("31");
pub(crate) const GREEN: Style = Style("32");
pub(crate) const YELLOW: Style = Style("33");

/// Colours for the prefixes of log lines.
pub(crate) const PREFIXES: [Style; 6] = [
    Style("36"),
    Style("35"),
    Style("34"),
    Style("33"),
    Style("32"),
    Style("96"),
];

/// The text in a style, or as it is where nobody would see it.
pub(crate) fn paint(style: Style, text: &str) -> String {
    styled(style, text, in_colour())
}

/// Whether standard output is in colour: it is a terminal, and its user wants them.
pub(crate) fn in_colour() -> bool {
    io::stdout().is_terminal() && wants_colour()
}

/// Whether NO_COLOR is unset and the terminal knows colours.
#[expect(
    clippy::disallowed_methods,
    reason = "NO_COLOR and TERM are the terminal's, not settings"
)]
fn wants_colour() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
    })
}

/// Whether somebody is there to be asked.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A result, on standard output. A reader that has gone (`| head`) ends the command.
pub(crate) fn print(text: &str) {
    match live::above(|| writeln!(io::stdout(), "{text}")) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        // Nothing is left to tell it with.
        _ => {}
    }
}

/// A line about what happens now. On standard error, so that standard output stays for results.
pub(crate) fn note(text: &str) {
    live::above(|| say(&format!("{text}\n")));
}

/// The last line before the process ends; what others still have to say is not shown.
pub(crate) fn farewell(text: &str) {
    // Over the `^C` that the terminal has written.
    let begin = if live::is_live() { "\r" } else { "" };
    live::instead(|| say(&format!("{begin}{text}\n")));
}

/// Takes the live lines away before the process ends: a shell's prompt follows.
pub(crate) fn leave() {
    live::instead(|| {});
}

/// Writes to standard error. Its reader may have gone (`| tee`, which Ctrl-C ends with us), its disk
/// be full: `eprintln!` would panic, in the middle of a clean-up too.
fn say(text: &str) {
    let mut out = io::stderr().lock();
    // Nothing is left to tell it with.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Standard output, for who writes whole lines by himself: they go above what is rewritten.
pub(crate) struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not half a line: the live ones would follow in the middle of it.
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = &bytes[..end.map_or(bytes.len(), |at| at + 1)];
        live::above(|| io::stdout().write_all(whole))?;
        Ok(whole.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// A line that something is not as it should be.
pub(crate) fn warn(text: &str) {
    note(&format!("{} {text}", on_stderr(YELLOW, "warning:")));
}

/// The last line of a failed command.
pub(crate) fn error(text: &str) {
    note(&format!("{} {text}", on_stderr(RED, "error:")));
}

/// The text without its sequences of style.
pub(crate) fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

/// A short word in colour at the beginning of a note.
pub(crate) fn mark(style: Style, word: &str) -> String {
    on_stderr(style, word)
}

fn on_stderr(style: Style, text: &str) -> String {
    styled(style, text, stderr_in_colour())
}

/// Whether standard error is in colour: for a child that paints by itself.
pub(crate) fn stderr_in_colour() -> bool {
    io::stderr().is_terminal() && wants_colour()
}

fn styled(style: Style, text: &str, in_colour: bool) -> String {
    if in_colour {
        format!("\x1b[{}m{text}\x1b[0m", style.0)
    } else {
        text.to_owned()
    }
}

/// A yes or no question; no is the default.
///
/// # Errors
/// Without a terminal: callers decide before what happens then.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    Ok(matches!(
        ask(&format!("{question} [y/N] "))?.to_lowercase().as_str(),
        "y" | "yes"
    ))
}

/// One line of answer.
pub(crate) fn ask(prompt: &str) -> Result<String> {
    if !is_interactive() {
        bail!("nobody is there to be asked: add --yes");
    }
    say(prompt);
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Rows under a heading, columns as wide as their longest cell, a style per cell where given. On a
/// narrow terminal a row ends at its edge: one that goes on below is no row any more.
pub(crate) fn table(heading: &[&str], rows: &[Vec<(String, Option<Style>)>]) -> String {
    let lines = lines_of_table(heading, rows);
    let fitted = lines.iter().map(|line| match room() {
        Some(room) => live::fit(line, room + 1),
        None => line.clone(),
    });
    fitted.collect::<Vec<_>>().join("\n")
}

/// Columns of standard output, where that is a terminal.
pub(crate) fn room() -> Option<usize> {
    io::stdout().is_terminal().then(live::width)
}

fn lines_of_table(heading: &[&str], rows: &[Vec<(String, Option<Style>)>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|(text, _)| text.chars().count());
        cells
            .chain([heading[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = (String, Option<Style>)>| {
        let mut line = String::from("  ");
        for ((text, style), width) in cells.zip(&widths) {
            let gap = " ".repeat(width - text.chars().count() + 3);
            line.push_str(&style.map_or_else(|| text.clone(), |style| paint(style, &text)));
            line.push_str(&gap);
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![line(
        &mut heading.iter().map(|text| ((*text).to_owned(), Some(DIM))),
    )];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().cloned())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let row = |cells: [&str; 2]| cells.map(|text| (text.to_owned(), None)).to_vec();
        let text = table(
            &["service", "at"],
            &[row(["api", "here"]), row(["a-long-name", ""])],
        );
        assert_eq!(
            text,
            "  service       at\n  api           here\n  a-long-name"
        );
    }
}
