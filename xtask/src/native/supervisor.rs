//! The parent of all native services: a process of its own that outlives the terminal.
//!
//! One thread owns the services and takes requests in turn; each running service has a thread
//! that asks its health; each connection has a thread that reads one request. A crashed service is
//! started again, later and later while it keeps crashing.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::control::{DEATH, Place};
use super::logs;
use super::plan::Spec;
use super::process;
use super::service::Service;
use crate::clock;
use crate::project::write_whole;
use crate::stack::service_of;
use crate::terminal;

/// How often the services are looked at.
const TICK: Duration = Duration::from_millis(50);

/// How often the sizes of the logs are looked at.
const ROTATION: Duration = Duration::from_secs(10);

/// A log that is larger, in bytes, is moved aside; one older piece is kept.
const LOG_LIMIT: u64 = 10 * 1024 * 1024;

type Request = (Value, Sender<Value>);

/// Runs until it is told to stop. Another supervisor of the same checkout makes it end at once.
pub(crate) fn run(place: &Place) -> Result<()> {
    // Out of the terminal's session: neither its end nor its Ctrl-C reaches us or our children.
    rustix::process::setsid().context("the supervisor needs a session of its own")?;
    place.make()?;
    let lock = File::create(place.lock())?;
    // One that was just killed may hold it a moment longer.
    if !process::wait_until(DEATH, || lock.try_lock().is_ok()) {
        bail!("another supervisor runs here");
    }
    stop_leftovers(place);
    let listener = place.listen()?;
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || accept(&listener, &sender));
    Supervisor {
        place,
        services: Vec::new(),
        recorded: String::new(),
        is_unwritten: false,
    }
    .serve(&requests)
}

/// Stops what an earlier supervisor left running when it was killed. Ids alone prove nothing after
/// a reboot: each process is compared by its start too.
pub(crate) fn stop_leftovers(place: &Place) {
    for process in recorded(place).unwrap_or_default().iter().rev() {
        if let Some((pid, identity)) = id_of(process) {
            let gently = if process["interrupt"] == true {
                Signal::INT
            } else {
                Signal::TERM
            };
            process::stop_stranger(pid, identity, gently, Duration::from_secs(20));
        }
    }
    let _ = fs::remove_file(place.record());
}

/// Those of them that run, by name and id; none when the last supervisor ended in order.
pub(crate) fn leftovers(place: &Place) -> Option<Vec<String>> {
    let processes = recorded(place).filter(|processes| !processes.is_empty())?;
    let alive = processes.iter().filter_map(|process| {
        let (pid, identity) = id_of(process)?;
        let name = process["name"].as_str()?;
        (process::identity(pid).as_deref() == Some(identity)).then(|| format!("{name} (pid {pid})"))
    });
    Some(alive.collect())
}

/// The processes of the record. None without one, and for one that came here with a copy of another
/// checkout, whose processes they are. (A checkout that is gone was moved here.)
fn recorded(place: &Place) -> Option<Vec<Value>> {
    let record: Value = serde_json::from_str(&fs::read_to_string(place.record()).ok()?).ok()?;
    let root = Path::new(record["root"].as_str()?);
    if root != place.root() && root.join(".slipway").exists() {
        return None;
    }
    record["processes"].as_array().cloned()
}

fn id_of(process: &Value) -> Option<(u32, &str)> {
    let pid = u32::try_from(process["pid"].as_u64()?).ok()?;
    Some((pid, process["identity"].as_str()?))
}

fn accept(listener: &UnixListener, requests: &Sender<Request>) {
    for stream in listener.incoming().flatten() {
        let requests = requests.clone();
        thread::spawn(move || {
            if let Err(error) = converse(&stream, &requests) {
                terminal::note(&format!("a request failed: {error:#}"));
            }
        });
    }
}

fn converse(mut stream: &UnixStream, requests: &Sender<Request>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let (sender, answer) = mpsc::channel();
    requests.send((serde_json::from_str(&line)?, sender))?;
    writeln!(stream, "{}", answer.recv()?)?;
    Ok(())
}

struct Supervisor<'a> {
    place: &'a Place,
    /// In the order of their start.
    services: Vec<Service>,
    /// What the record says, to write it only when it changes.
    recorded: String,
    /// It could not be written, which was told.
    is_unwritten: bool,
}

impl Supervisor<'_> {
    fn serve(mut self, requests: &Receiver<Request>) -> Result<()> {
        let mut rotated = Instant::now();
        loop {
            match requests.recv_timeout(TICK) {
                Ok((request, reply)) => {
                    let ends = request["do"] == "stop" && request["service"].is_null();
                    let answer = self
                        .handle(&request)
                        .unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
                    self.keep_record();
                    // A client that has gone needs no answer.
                    let _ = reply.send(answer);
                    if ends {
                        // The connection's thread has yet to write it.
                        clock::pause(TICK);
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the control socket is closed"),
            }
            for service in &mut self.services {
                service.tend(self.place);
            }
            self.keep_record();
            if rotated.elapsed() > ROTATION {
                rotated = Instant::now();
                self.rotate_logs();
            }
        }
    }

    fn handle(&mut self, request: &Value) -> Result<Value> {
        let named = request["service"].as_str();
        match request["do"].as_str() {
            Some("status") => Ok(
                json!({ "services": self.services.iter_mut().map(Service::status).collect::<Vec<_>>() }),
            ),
            Some("apply") => {
                let plan = request["plan"].as_array().context("apply without a plan")?;
                let plan = plan.iter().map(Spec::from_json).collect::<Result<_>>()?;
                self.apply(plan, request["keep"] == true);
                Ok(json!({}))
            }
            Some("start") => self.on(named, Service::start_again),
            Some("kill") => self.on(named, |service, _| service.kill()),
            Some("stop") if named.is_some() => self.on(named, |service, _| service.stop()),
            Some("stop") => {
                stop(self.services.iter_mut());
                Ok(json!({}))
            }
            _ => bail!("an unknown request: {request}"),
        }
    }

    fn on(&mut self, name: Option<&str>, act: impl FnOnce(&mut Service, &Place)) -> Result<Value> {
        let Some(service) = self
            .services
            .iter_mut()
            .find(|service| Some(service.name()) == name)
        else {
            bail!("no such service: {}", name.unwrap_or("(none named)"));
        };
        act(service, self.place);
        Ok(json!({}))
    }

    /// Makes the services those of the plan: stops what differs or, unless it is to be kept, is not
    /// in it, last first; then starts what is missing, in the plan's order. A `worker-3` is no other
    /// than `worker`: it goes when the plan has fewer.
    fn apply(&mut self, plan: Vec<Spec>, keeps_others: bool) {
        let stays = |service: &Service| {
            let of_service = |spec: &Spec| service_of(&spec.name) == service_of(service.name());
            plan.iter().any(|spec| service.runs(spec))
                || (keeps_others && !plan.iter().any(of_service))
        };
        stop(self.services.iter_mut().filter(|service| !stays(service)));
        self.services.retain(|service| {
            let is_planned = plan.iter().any(|spec| spec.name == service.name());
            is_planned || stays(service)
        });
        for spec in plan {
            // In its old place: the order of the list is that of the start, and backwards of the stop.
            let same_name = |service: &Service| service.name() == spec.name;
            let at = match self.services.iter().position(same_name) {
                Some(at) => {
                    if !self.services[at].runs(&spec) {
                        self.services[at] = Service::new(spec);
                    }
                    at
                }
                None => {
                    self.services.push(Service::new(spec));
                    self.services.len() - 1
                }
            };
            self.services[at].start_unless_running(self.place);
        }
    }

    /// Writes the record when it changes. On a full disk it stays behind, and is tried again at the
    /// next tick: the services go on.
    fn keep_record(&mut self) {
        let processes: Vec<Value> = self.services.iter().filter_map(Service::record).collect();
        let record = json!({ "root": self.place.root(), "processes": processes }).to_string();
        if record != self.recorded {
            match write_whole(&self.place.record(), &record) {
                Ok(()) => {
                    self.recorded = record;
                    self.is_unwritten = false;
                }
                Err(error) if !self.is_unwritten => {
                    terminal::note(&format!("{error:#}; tried again until it can be"));
                    self.is_unwritten = true;
                }
                Err(_) => {}
            }
        }
    }

    fn rotate_logs(&self) {
        let names = self
            .services
            .iter()
            .map(Service::name)
            .chain(["supervisor"]);
        for path in names.map(|name| self.place.log(name)) {
            if let Err(error) = rotate(&path, LOG_LIMIT) {
                terminal::note(&format!("{} cannot be rotated: {error}", path.display()));
            }
        }
    }
}

/// Stops these, last first; the processes of one service at the same time: each may have a long job
/// to finish, and whoever asked waits for all.
fn stop<'a>(services: impl DoubleEndedIterator<Item = &'a mut Service>) {
    let mut services: Vec<&mut Service> = services.rev().collect();
    let are_one = |a: &&mut Service, b: &&mut Service| service_of(a.name()) == service_of(b.name());
    for processes in services.chunk_by_mut(are_one) {
        for process in processes.iter_mut() {
            process.ask_to_stop();
        }
        for process in processes {
            process.stop();
        }
    }
}

/// Copies a log larger than `limit` bytes aside and empties it. Not a rename: the service has the
/// file open, for appending, and goes on at its new beginning.
fn rotate(path: &Path, limit: u64) -> std::io::Result<()> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > limit => {
            fs::copy(path, logs::moved_aside(path))?;
            File::options().write(true).open(path)?.set_len(0)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::probe::Probe;
    use super::*;

    #[test]
    fn a_large_log_is_moved_aside_under_its_writer() {
        let folder = std::env::temp_dir().join(format!("slipway-rotate-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("api.log");
        let mut writer = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        writer.write_all(b"old\n").unwrap();
        rotate(&path, 4).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "old\n",
            "it is not larger than the limit"
        );
        rotate(&path, 3).unwrap();
        writer.write_all(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(
            fs::read_to_string(folder.join("api.log.1")).unwrap(),
            "old\n"
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_processes_of_a_service_stop_together() {
        let root = std::env::temp_dir().join(format!("slipway-stop-{}", std::process::id()));
        fs::create_dir_all(root.join(".slipway/logs")).unwrap();
        let place = Place::at(&root);
        // Each ends when the other was asked too; one that was asked alone would be killed.
        let worker = |me: &str, other: &str| {
            Spec {
            name: format!("worker-{me}"),
            program: "/bin/sh".into(),
            args: vec![
                "-c".to_owned(),
                format!(
                    "trap 'touch asked-{me}; while [ ! -e asked-{other} ]; do sleep 0.05; done; exit 0' TERM
                     touch ready-{me}; while true; do sleep 0.05; done"
                ),
            ],
            env: super::super::environment::inherited(),
            folder: root.clone(),
            account: None,
            probe: Probe::Http {
                address: "127.0.0.1:1".to_owned(),
            },
            address: String::new(),
            stops_on_interrupt: false,
            grace_seconds: 10,
            stamp: String::new(),
        }
        };
        let mut services = [worker("1", "2"), worker("2", "1")].map(Service::new);
        for service in &mut services {
            service.start_unless_running(&place);
        }
        let ready = || ["ready-1", "ready-2"].map(|name| root.join(name).exists());
        assert!(process::wait_until(Duration::from_secs(30), || ready() == [true; 2]));
        stop(services.iter_mut());
        for service in &mut services {
            assert_eq!(service.status()["last_exit"], "exited with code 0");
        }
        fs::remove_dir_all(root).unwrap();
    }
}
