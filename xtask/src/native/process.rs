//! Processes by their ids: starting under another user, recognising, stopping.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::account::Account;

/// A command that runs under `account`, detached from the terminal's input.
pub(crate) fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    if let Some(account) = account {
        // The standard library also drops root's other groups.
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// What tells a process from a later one with the same id: when it began.
///
/// On Linux the start in clock ticks and the boot's id, elsewhere what ps(1) prints.
pub(crate) fn identity(pid: u32) -> Option<String> {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        let start = start_ticks(&stat)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        return Some(format!("{start}@{}", boot.trim()));
    }
    if Path::new("/proc/self/stat").exists() {
        return None;
    }
    let output = Command::new("ps")
        .args(["-o", "lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Field 22 of `/proc/PID/stat`; none for a zombie. The name in field 2 may hold blanks and brackets.
fn start_ticks(stat: &str) -> Option<&str> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X")
        .then(|| fields.nth(18))
        .flatten()
}

/// Sends a signal; a process that is gone already is fine.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = as_pid(pid) {
        // The only other error is a missing right, and then the caller's wait finds it alive.
        let _ = kill_process(pid, signal);
    }
}

/// Stops a process that is not our child, if it still is the one with this identity:
/// first with `gently`, then, after the grace period, with SIGKILL.
pub(crate) fn stop_stranger(pid: u32, who: &str, gently: Signal, grace: Duration) {
    let is_alive = || identity(pid).as_deref() == Some(who);
    if !is_alive() {
        return;
    }
    signal(pid, gently);
    if !wait_until(grace, || !is_alive()) {
        signal(pid, Signal::KILL);
        wait_until(Duration::from_secs(5), || !is_alive());
    }
}

/// Polls until the condition holds; false when the time is over first.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        crate::clock::pause(Duration::from_millis(20));
    }
    true
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_ticks(&format!("7 (a) b (c) {rest}")), Some("4711"));
        assert_eq!(
            start_ticks(&format!("7 (dead) {}", rest.replace('S', "Z"))),
            None
        );
    }

    #[test]
    fn a_process_is_itself_and_no_other() {
        let me = std::process::id();
        assert!(identity(me).is_some() && identity(me) == identity(me));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let who = identity(child.id()).unwrap();
        stop_stranger(
            child.id(),
            "somebody else",
            Signal::TERM,
            Duration::from_secs(1),
        );
        assert_eq!(identity(child.id()), Some(who.clone()));
        stop_stranger(child.id(), &who, Signal::TERM, Duration::from_secs(5));
        assert_eq!(identity(child.id()), None);
        child.wait().unwrap();
    }
}
