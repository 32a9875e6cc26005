//! Lines at the bottom of the terminal that are rewritten in place.
//!
//! There is one terminal, so there is one [`SCREEN`]: whatever is printed while lines are shown goes
//! above them. The cursor is never hidden, so that nothing has to be restored after a Ctrl-C.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The width where the terminal does not say its own.
const WIDTH: usize = 80;

static SCREEN: Mutex<Screen> = Mutex::new(Screen { lines: Vec::new() });

/// What stands on the terminal now and will be rewritten.
struct Screen {
    lines: Vec<String>,
}

/// Lines that follow what happens. They are gone with this value; where standard error is no
/// terminal, nothing is shown.
pub(crate) struct Live(());

impl Live {
    /// Nothing at first.
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// Shows these lines in place of those before, each cut to the terminal's width.
    pub(crate) fn show(&self, lines: &[String]) {
        if is_live() {
            let width = width();
            let lines = lines.iter().map(|line| fit(line, width)).collect();
            screen().replace(lines);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.show(&[]);
    }
}

/// Prints with the live lines out of the way; they are below again afterwards.
pub(super) fn above<T>(print: impl FnOnce() -> T) -> T {
    let mut screen = screen();
    let lines = std::mem::take(&mut screen.lines);
    if lines.is_empty() {
        return print();
    }
    super::say(&erase(lines.len()));
    let printed = print();
    screen.replace(lines);
    printed
}

/// Prints in place of the live lines, and lets nobody write after that: the process is to end.
/// Whoever comes second says nothing.
pub(super) fn instead(print: impl FnOnce()) {
    static IS_LEFT: AtomicBool = AtomicBool::new(false);
    if IS_LEFT.swap(true, Ordering::SeqCst) {
        return;
    }
    let mut screen = screen();
    screen.replace(Vec::new());
    print();
    std::mem::forget(screen);
}

/// Whether lines can be rewritten: standard error is a terminal that knows how.
#[expect(
    clippy::disallowed_methods,
    reason = "TERM is the terminal's, not a setting"
)]
pub(crate) fn is_live() -> bool {
    static LIVE: OnceLock<bool> = OnceLock::new();
    *LIVE.get_or_init(|| {
        io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    })
}

/// The terminal's width in columns. Asked anew each time: windows change.
pub(super) fn width() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => WIDTH,
    }
}

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Screen {
    fn replace(&mut self, lines: Vec<String>) {
        if lines == self.lines {
            return;
        }
        // In one piece, or it would flicker.
        super::say(&format!("{}{}", erase(self.lines.len()), lines.join("\n")));
        self.lines = lines;
    }
}

/// The sequence that takes away so many lines, the cursor being at the end of the last.
fn erase(lines: usize) -> String {
    match lines {
        0 => String::new(),
        1 => "\r\x1b[J".to_owned(),
        _ => format!("\r\x1b[{}A\x1b[J", lines - 1),
    }
}

/// The line, cut to `width` columns. Sequences of style take none, and are closed after a cut.
///
/// The last column stays free: some terminals go on to the next line when it is written.
pub(super) fn fit(line: &str, width: usize) -> String {
    let room = width.saturating_sub(1);
    let mut fitted = String::new();
    let mut columns = 0;
    let mut is_style = false;
    for c in line.chars() {
        if is_style || c == '\x1b' {
            is_style = c != 'm';
        } else if columns == room {
            if fitted.contains('\x1b') {
                fitted.push_str("\x1b[0m");
            }
            return fitted;
        } else {
            columns += 1;
        }
        fitted.push(c);
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_the_terminal_ends() {
        assert_eq!(fit("building tokio", 80), "building tokio");
        assert_eq!(fit("building tokio", 9), "building");
        assert_eq!(fit("\x1b[1mbuilding\x1b[0m x", 5), "\x1b[1mbuil\x1b[0m");
        assert_eq!(fit("\x1b[1mok\x1b[0m", 3), "\x1b[1mok\x1b[0m");
    }

    #[test]
    fn lines_are_erased_from_the_first() {
        assert_eq!(erase(0), "");
        assert_eq!(erase(1), "\r\x1b[J");
        assert_eq!(erase(3), "\r\x1b[2A\x1b[J");
    }
}
