//! The machine: toolchain, disk, memory, clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::finding::{Finding, fail, ok, warn};
use super::fix::Fix;
use crate::project::Project;

/// Below this a build of the workspace may fill the disk, in MiB.
const ROOM_TO_BUILD: u64 = 5 * 1024;

/// Below this Postgres and Redis soon refuse to write, in MiB.
const ROOM_TO_RUN: u64 = 1024;

/// Below this the linker may be killed, in MiB.
pub(super) const MEMORY_FLOOR: u64 = 2 * 1024;

/// How far a clock may be off before somebody suffers.
pub(super) const SKEW: Duration = Duration::from_secs(5);

/// All of them.
pub(super) fn all(project: &Project) -> Vec<Finding> {
    let mut findings = vec![toolchain(project)];
    findings.extend(disk(&places(project)));
    findings.extend([memory(), clock(project)]);
    findings
}

/// What a start needs.
pub(super) fn before_up(project: &Project) -> Vec<Finding> {
    let mut findings = disk(&places(project));
    findings.extend([memory(), clock(project)]);
    findings
}

fn toolchain(project: &Project) -> Finding {
    const NAME: &str = "toolchain";
    let file = fs::read_to_string(project.root().join("rust-toolchain.toml")).unwrap_or_default();
    let wanted = file
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'));
    let Some(here) = output("rustc", &["--version"], project.root()) else {
        return fail(
            NAME,
            "there is no `rustc` on PATH",
            "install Rust: https://rustup.rs",
        );
    };
    match wanted {
        Some(wanted) if !here.contains(&format!(" {wanted} ")) => warn(
            NAME,
            format!("{}, but the project is built with {wanted}", here.trim()),
            format!("`rustup toolchain install {wanted}`"),
        )
        .fixed_by(Fix::Toolchain(wanted.to_owned())),
        _ => ok(NAME, here.trim()),
    }
}

/// Where much is written: the checkout, what cargo builds, and the native data.
fn places(project: &Project) -> Vec<PathBuf> {
    let mut places = vec![project.root().to_owned()];
    // This program lies where cargo builds: below target/, wherever that is.
    places.extend(std::env::current_exe());
    places.push(project.state_dir());
    places.retain(|place| place.exists());
    places
}

/// One finding for each file system that these places lie on.
pub(super) fn disk(places: &[PathBuf]) -> Vec<Finding> {
    let mut rooms: Vec<Room> = Vec::new();
    for room in places.iter().filter_map(|place| Room::of(place)) {
        if rooms.iter().all(|seen| !seen.is_same(&room)) {
            rooms.push(room);
        }
    }
    if rooms.is_empty() {
        return vec![ok("disk", "not known on this system")];
    }
    rooms
        .iter()
        .map(|room| judge_room(room.free, &room.mount))
        .collect()
}

/// A file system.
#[derive(Debug)]
pub(super) struct Room {
    device: String,
    /// All of it, in KiB: devices of no name, as `tmpfs`, are told apart by it.
    size: u64,
    /// In MiB.
    free: u64,
    /// Where it is mounted.
    mount: String,
}

impl Room {
    /// The one that `place` lies on; none where df(1) does not know.
    pub(super) fn of(place: &Path) -> Option<Self> {
        // POSIX: with -P one line per file system, with -k in KiB.
        let table = output("df", &["-Pk", &place.display().to_string()], Path::new("/"))?;
        let fields: Vec<&str> = table.lines().nth(1)?.split_whitespace().collect();
        Some(Self {
            device: (*fields.first()?).to_owned(),
            size: fields.get(1)?.parse().ok()?,
            free: fields.get(3)?.parse::<u64>().ok()? / 1024,
            mount: fields.get(5..)?.join(" "),
        })
    }

    /// One device may be mounted at several places.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.device == other.device && self.size == other.size
    }
}

fn judge_room(free: u64, mount: &str) -> Finding {
    const REMEDY: &str =
        "`cargo clean` frees target/, `docker system prune` what Docker keeps and nobody uses";
    let said = format!("{} free on {mount}", size(free));
    if free < ROOM_TO_RUN {
        let finding = format!("{said}: builds fail, and Postgres and Redis soon refuse to write");
        fail("disk", finding, REMEDY)
    } else if free < ROOM_TO_BUILD {
        let finding = format!("{said}: a first build may fill it");
        warn("disk", finding, REMEDY)
    } else {
        ok("disk", said)
    }
}

fn memory() -> Finding {
    let table = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = table.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    available.map_or_else(
        || ok("memory", "not known on this system"),
        |kib| judge_memory(kib / 1024),
    )
}

fn judge_memory(mib: u64) -> Finding {
    let said = format!("{} available", size(mib));
    if mib >= MEMORY_FLOOR {
        return ok("memory", said);
    }
    warn(
        "memory",
        format!("{said}: the linker needs about 1 GiB for each job, and is killed without it"),
        "close something, or build with `CARGO_BUILD_JOBS=1 cargo xtask up`",
    )
}

/// A size in MiB, for people.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(super) fn size(mib: u64) -> String {
    if mib < 1024 {
        format!("{mib} MiB")
    } else {
        format!("{:.1} GiB", mib as f64 / 1024.0)
    }
}

/// The clock against what has been written and committed: neither can be later than now.
fn clock(project: &Project) -> Finding {
    let newest = newest(project.root());
    let from_the_future = newest.and_then(|(path, written)| {
        let ahead = written.duration_since(SystemTime::now()).ok()?;
        Some((path, ahead)).filter(|_| ahead > SKEW)
    });
    let Some((path, ahead)) = from_the_future else {
        return ok("clock", "no file of the checkout is newer than now");
    };
    let shown = path.strip_prefix(project.root()).unwrap_or(&path).display();
    warn(
        "clock",
        format!(
            "{shown} was written {} from now: this machine's clock is behind, or was ahead",
            span(ahead)
        ),
        format!("{}; if the clock is right, `touch {shown}`", set_clock()),
    )
}

/// How the clock is set on this system.
pub(super) fn set_clock() -> &'static str {
    let kernel = fs::read_to_string("/proc/version").unwrap_or_default();
    if kernel.to_lowercase().contains("microsoft") {
        // The clock of WSL 2 stands still while Windows sleeps.
        "`sudo hwclock --hctosys`"
    } else if cfg!(target_os = "macos") {
        "`sudo sntp -sS time.apple.com`"
    } else {
        "`sudo timedatectl set-ntp true`"
    }
}

/// A span of time, for people.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// The file that was written last, of the checkout's own.
fn newest(folder: &Path) -> Option<(PathBuf, SystemTime)> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let kind = entry.file_type().ok()?;
            // What is made here is not asked: it would be as wrong as the clock.
            if name == "target" || name == ".git" || name == ".slipway" {
                None
            } else if kind.is_dir() {
                newest(&entry.path())
            } else {
                Some((entry.path(), entry.metadata().ok()?.modified().ok()?))
            }
        })
        .max_by_key(|(_, written)| *written)
}

/// What a program prints; none when it cannot be run.
pub(super) fn output(program: &str, args: &[&str], folder: &Path) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn little_room_is_a_warning_and_none_a_failure() {
        assert_eq!(judge_room(ROOM_TO_BUILD, "/").severity, Severity::Ok);
        assert_eq!(judge_room(ROOM_TO_RUN, "/").severity, Severity::Warn);
        let full = judge_room(12, "/data");
        assert_eq!(full.severity, Severity::Fail);
        assert!(full.finding.starts_with("12 MiB free on /data"), "{full:?}");
    }

    /// A machine cannot be made short of memory for a test; what is done about it can be tested.
    #[test]
    fn little_memory_is_a_warning() {
        assert_eq!(judge_memory(MEMORY_FLOOR).severity, Severity::Ok);
        let low = judge_memory(1536);
        assert_eq!(low.severity, Severity::Warn);
        assert!(low.finding.starts_with("1.5 GiB available"), "{low:?}");
    }

    #[test]
    fn the_room_of_a_place_is_known() {
        assert_eq!(Room::of(Path::new("/")).unwrap().mount, "/");
        assert_eq!(disk(&["/".into(), "/".into()]).len(), 1);
    }

    #[test]
    fn spans_are_told_in_their_unit() {
        let of = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(
            (of(90), of(600), of(7200)),
            ("90 s".into(), "10 min".into(), "2 h".into())
        );
    }
}
