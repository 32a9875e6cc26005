//! Free ports, and by whom a taken one is held.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::terminal;

/// Ports that one `up` has given already, by the service that has each: nothing listens there yet.
pub(crate) type Given = BTreeMap<u16, String>;

/// A host port for `service`: the wanted one, else the one of last time, else the next free one.
///
/// It is put into `given`, and none that is there is chosen. A port that another process holds is reported with that process. Call this only while the
/// service itself does not run: its own listener would count as taken.
pub(crate) fn choose(
    project: &Project,
    service: &str,
    wanted: u16,
    given: &mut Given,
) -> Result<u16> {
    let is_open = |port: u16| !given.contains_key(&port) && is_free(port);
    let port = if is_open(wanted) {
        wanted
    } else {
        let last = project
            .port(service)
            .filter(|port| *port != wanted && is_open(*port));
        let port = match last {
            Some(port) => port,
            None => next(wanted, is_open)?,
        };
        let holder = given.get(&wanted).cloned();
        terminal::warn(&format!(
            "port {wanted} is taken by {}; {service} listens on {port} instead",
            holder.unwrap_or_else(|| holder_in_words(wanted))
        ));
        port
    };
    project.remember_port(service, port)?;
    given.insert(port, service.to_owned());
    Ok(port)
}

/// A port of no meaning for an internal server: the one of last time if it is free, else any.
pub(crate) fn any(project: &Project, service: &str) -> Result<u16> {
    // One that was just given to another service looks free until that has started.
    let is_ours = |port: &u16| !project.is_given_to_another(service, *port);
    let last = project.port(service).filter(|port| is_free(*port));
    if let Some(port) = last.filter(is_ours) {
        return Ok(port);
    }
    let port = loop {
        let port = unused()?;
        if is_ours(&port) {
            break port;
        }
    };
    project.remember_port(service, port)?;
    Ok(port)
}

/// A port that the system says is free now.
pub(crate) fn unused() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// Whether nothing listens on the port, neither on loopback nor on all addresses.
pub(crate) fn is_free(port: u16) -> bool {
    // Two tries: a listener on 0.0.0.0 does not keep 127.0.0.1 from being bound on every system,
    // and a bind alone misses a forwarder that only answers connections.
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop);
    may_be_free(&bound)
        && TcpStream::connect_timeout(
            &SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            Duration::from_millis(200),
        )
        .is_err()
}

/// Whether a try to listen leaves it open that nobody else does: so does one that was not allowed,
/// as below 1024. Docker's engine may.
fn may_be_free(bound: &io::Result<()>) -> bool {
    match bound {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Whether this user may listen on the port, taken or not.
pub(crate) fn is_allowed(port: u16) -> bool {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::PermissionDenied,
    }
}

/// The first port after this one that `is_open`.
fn next(after: u16, is_open: impl Fn(u16) -> bool) -> Result<u16> {
    match (after.saturating_add(1)..=after.saturating_add(200)).find(|port| is_open(*port)) {
        Some(port) => Ok(port),
        None => bail!(
            "no free port between {after} and {}",
            after.saturating_add(200)
        ),
    }
}

/// The process that listens on a port.
#[derive(Debug, PartialEq)]
pub(crate) struct Holder {
    pid: u32,
    command: String,
    /// Where it was started, which tells one checkout from another.
    folder: Option<PathBuf>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (pid {}", self.command, self.pid)?;
        if let Some(folder) = &self.folder {
            write!(f, ", in {}", folder.display())?;
        }
        f.write_str(")")
    }
}

/// Who listens on the port: a container by its name, else a process.
pub(crate) fn holder_in_words(port: u16) -> String {
    let holder = holder(port);
    let is_docker = |holder: &Holder| holder.command.contains("docker-proxy");
    // Docker's own listener says nothing, and that of another user cannot be seen.
    let container = (holder.as_ref().is_none_or(is_docker))
        .then(|| crate::docker::container_on(port))
        .flatten();
    match (container, holder) {
        (Some(container), _) => format!("the container `{container}`"),
        // Not among those that run: it just begins or ends.
        (None, Some(holder)) if is_docker(&holder) => "a container of Docker".to_owned(),
        (None, Some(holder)) => holder.to_string(),
        (None, None) => "a process of another user".to_owned(),
    }
}

/// Who listens on the port, from /proc, else from lsof. None when it may not be known: a process
/// of another user, or neither source is there.
pub(crate) fn holder(port: u16) -> Option<Holder> {
    let pid = pid_from_proc(port).or_else(|| pid_from_lsof(port))?;
    let command = command_line(pid).unwrap_or_else(|| "?".to_owned());
    let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).ok();
    Some(Holder {
        pid,
        command,
        folder,
    })
}

fn pid_from_proc(port: u16) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let socket = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|target| target.to_str() == Some(&socket))
        };
        if files.flatten().any(holds) {
            return Some(pid);
        }
    }
    None
}

/// The inode of the listening socket on `port` in a table of `/proc/net/tcp`'s format (proc(5)).
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let is_listening = *fields.get(3)? == "0A";
        let is_port = u16::from_str_radix(local_port, 16) == Ok(port);
        if is_listening && is_port {
            fields.get(9)?.parse().ok()
        } else {
            None
        }
    })
}

fn pid_from_lsof(port: u16) -> Option<u32> {
    let output = Command::new("lsof")
        .args(["-nP", "-t", &format!("-iTCP:{port}"), "-sTCP:LISTEN"])
        .output()
        .ok()?;
    String::from_utf8(output.stdout)
        .ok()?
        .lines()
        .next()?
        .parse()
        .ok()
}

/// The command line of a process, as one line.
pub(crate) fn command_line(pid: u32) -> Option<String> {
    if let Ok(bytes) = std::fs::read(format!("/proc/{pid}/cmdline")) {
        let words: Vec<String> = bytes
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        return (!words.is_empty()).then(|| words.join(" ").chars().take(80).collect());
    }
    let output = Command::new("ps")
        .args(["-o", "command=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (!text.trim().is_empty()).then(|| text.trim().chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_socket_is_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F40 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n\
             1: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n";
        assert_eq!(listening_inode(table, 8000), Some(222));
        assert_eq!(listening_inode(table, 8001), None);
    }

    #[test]
    fn a_taken_port_is_not_free_and_its_holder_is_known() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        assert_eq!(
            holder(port).map(|holder| holder.pid),
            Some(std::process::id())
        );
        drop(listener);
        assert!(is_free(port));
    }

    #[test]
    fn two_services_of_one_start_get_two_ports() {
        let root = std::env::temp_dir().join(format!("slipway-ports-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let project = Project::at(&root).unwrap();
        let wanted = unused().unwrap();
        let mut given = Given::new();
        assert_eq!(choose(&project, "api", wanted, &mut given).unwrap(), wanted);
        let proxy = choose(&project, "proxy", wanted, &mut given).unwrap();
        assert!(proxy > wanted);
        // Not the one of last time either, when another has it now.
        given.remove(&proxy);
        given.insert(proxy, "maildev".to_owned());
        let again = choose(&project, "proxy", wanted, &mut given).unwrap();
        assert!(again > proxy && project.port("proxy") == Some(again));
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_port_that_needs_root_may_be_free() {
        let refused = |kind: io::ErrorKind| may_be_free(&Err(kind.into()));
        assert!(refused(io::ErrorKind::PermissionDenied));
        assert!(!refused(io::ErrorKind::AddrInUse));
    }
}
