//! The process itself, as Linux tells it (proc(5)); elsewhere there is none of it.
//!
//! The names are those of every Prometheus client library. Those of the `prometheus` crate count
//! whole seconds of CPU, and come with five crates.

use std::{fs, time::Duration};

use super::Snapshot;

/// What `/proc` says of a process.
#[derive(Debug, PartialEq)]
struct Process {
    cpu_seconds: f64,
    start_seconds: f64,
    threads: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

/// Adds what can be read; it blocks for some microseconds.
pub(super) fn measure(now: &mut Snapshot) {
    if let Some(process) = read() {
        let cpu = "User and system CPU time of the process, in seconds.";
        now.counter(
            "process_cpu_seconds_total",
            cpu,
            &[],
            &[(&[], process.cpu_seconds)],
        );
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM.",
                process.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Memory that the process has mapped.",
                process.virtual_bytes,
            ),
            (
                "process_start_time_seconds",
                "When the process began, in seconds of the Unix epoch.",
                process.start_seconds,
            ),
            (
                "process_threads",
                "Threads of the process.",
                process.threads,
            ),
        ] {
            now.gauge(name, help, &[], &[(&[], value)]);
        }
    }
    if let Some(open) = open_files() {
        let help = "File descriptors that the process has open.";
        now.gauge("process_open_fds", help, &[], &[(&[], open)]);
    }
    if let Some(most) = most_files() {
        let help = "File descriptors that the process may have open.";
        now.gauge("process_max_fds", help, &[], &[(&[], most)]);
    }
}

fn read() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot = system.lines().find_map(|line| line.strip_prefix("btime "));
    let boot = Duration::from_secs(boot?.trim().parse().ok()?);
    let ticks = rustix::param::clock_ticks_per_second();
    parse(&stat, boot, ticks, rustix::param::page_size())
}

/// Reads the line of `/proc/self/stat`: its second field is the program's name in brackets, which
/// may hold anything, so the fields are counted from the last bracket.
#[expect(
    clippy::cast_precision_loss,
    reason = "a float is what the format has, and is exact up to 2^53"
)]
fn parse(stat: &str, boot: Duration, ticks: u64, page: usize) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // As proc(5) numbers them, from 1; the first one here is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |of: u64| of as f64 / ticks.max(1) as f64;
    Some(Process {
        cpu_seconds: seconds(field(14)? + field(15)?),
        threads: field(20)? as f64,
        start_seconds: boot.as_secs_f64() + seconds(field(22)?),
        virtual_bytes: field(23)? as f64,
        resident_bytes: (field(24)? * page as u64) as f64,
    })
}

/// Less the one that reads the folder.
fn open_files() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(f64::from(u32::try_from(open.saturating_sub(1)).ok()?))
}

fn most_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_program_is_called() {
        let line = "4711 (a) b (c) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 9 0 1000 4096 3 0";
        let process = parse(line, Duration::from_secs(60), 100, 4096).unwrap();
        let expected = Process {
            cpu_seconds: 2.0,
            start_seconds: 70.0,
            threads: 9.0,
            virtual_bytes: 4096.0,
            resident_bytes: 12288.0,
        };
        assert_eq!(process, expected);
        assert_eq!(parse("4711 (a) S 1", Duration::ZERO, 100, 4096), None);
    }
}
