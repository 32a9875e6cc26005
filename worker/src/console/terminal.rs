//! Tables, colours where there is a terminal, and the one question.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;

/// A colour or weight, as the parameter of an ANSI SGR sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style(&'static str);

pub(super) const DIM: Style = Style("2");
pub(super) const RED: Style = Style("31");
pub(super) const YELLOW: Style = Style("33");

/// A text in a table, and how it looks.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    style: Option<Style>,
}

impl Cell {
    /// The same, in this style where a condition holds.
    pub(super) fn styled(mut self, style: Style, when: bool) -> Self {
        self.style = when.then_some(style);
        self
    }
}

/// A text as one line: what comes from outside must not move the cursor.
pub(super) fn cell(text: impl Into<String>) -> Cell {
    Cell {
        text: plain(&text.into()),
        style: None,
    }
}

/// Without control characters, and without those that turn the direction of a line.
fn plain(text: &str) -> String {
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain = |c: char| if c.is_control() || turns(c) { ' ' } else { c };
    text.chars().map(plain).collect()
}

/// Rows under a heading, columns as wide as their longest cell.
pub(super) fn table(heading: &[&str], rows: &[Vec<Cell>]) -> String {
    let heading = heading.iter().map(|name| cell(*name).styled(DIM, true));
    let all: Vec<Vec<Cell>> = [heading.collect()]
        .into_iter()
        .chain(rows.to_vec())
        .collect();
    let colour = io::stdout().is_terminal();
    let lines = all.iter().map(|row| {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let widths = all.iter().filter_map(|row| row.get(column));
            let width = widths.map(Cell::width).max().unwrap_or(0);
            let gap = " ".repeat(width - cell.width() + 3);
            line.push_str(&paint(cell, colour));
            line.push_str(&gap);
        }
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Cell {
    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

fn paint(cell: &Cell, colour: bool) -> String {
    match cell.style {
        Some(style) if colour => format!("\x1b[{}m{}\x1b[0m", style.0, cell.text),
        _ => cell.text.clone(),
    }
}

/// A result, on standard output. A reader that has gone (`| head`) ends the command.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// A yes or no question; no is the default.
pub(super) fn confirm(question: &str) -> anyhow::Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        bail!("nobody is there to be asked: add --yes");
    }
    eprint!("{} [y/N] ", plain(question));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let answer = answer.trim().to_lowercase();
    Ok(answer == "y" || answer == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [
            vec![cell("a"), cell("here")],
            vec![cell("a-long\nname"), cell("")],
        ];
        let text = table(&["job", "at"], &rows);
        assert_eq!(text, "job           at\na             here\na-long name");
    }
}
