//! Speaking with the supervisor: one JSON line each way over a Unix socket.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::plan::Spec;
use super::process;
use crate::interrupt;
use crate::project::Project;
use crate::verbose::Shown as _;

/// Longest path of a socket that every Unix takes, in bytes (macOS: 104 with the final zero).
const SOCKET_PATH_LIMIT: usize = 100;

/// The longest that the supervisor may take to answer: the stop of all services, one after another.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long a killed process may take to be gone, and to let go of what it held.
pub(super) const DEATH: Duration = Duration::from_secs(5);

/// Where the supervisor and its clients meet.
pub(crate) struct Place {
    root: PathBuf,
    folder: PathBuf,
}

impl Place {
    /// For the checkout at `root`.
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            folder: root.join(".slipway/native"),
        }
    }

    /// The folder of everything below, closed to others.
    pub(crate) fn make(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("{} cannot be made", self.folder.display()))?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
        Ok(())
    }

    /// The checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Held by the supervisor as long as it lives; the system lets go of it in any kind of death.
    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.join("supervisor.lock")
    }

    /// The processes that the supervisor has started, for the one after it.
    pub(crate) fn record(&self) -> PathBuf {
        self.folder.join("processes.json")
    }

    /// The passwords for psql, in its own format.
    pub(crate) fn passwords(&self) -> PathBuf {
        self.folder.join("pgpass")
    }

    /// The configuration that our Redis runs with.
    pub(crate) fn redis_config(&self) -> PathBuf {
        self.folder.join("redis.conf")
    }

    /// The log of a service.
    pub(crate) fn log(&self, service: &str) -> PathBuf {
        self.root
            .join(".slipway/logs")
            .join(format!("{service}.log"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// Opens the supervisor's end of the socket.
    pub(crate) fn listen(&self) -> Result<UnixListener> {
        // Only the holder of the lock gets here: a socket that is there belongs to a dead one.
        let _ = fs::remove_file(self.socket());
        within_limit(&self.socket(), |path| UnixListener::bind(path))
            .context("the control socket cannot be made")
    }

    /// Whether a supervisor lives.
    pub(crate) fn is_supervised(&self) -> bool {
        let Ok(lock) = File::open(self.lock()) else {
            return false;
        };
        matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    }
}

/// Calls `open` with the path, or from inside its folder with the bare name when the path is longer
/// than a socket's may be. Only where no other thread cares about the current folder.
fn within_limit<T>(path: &Path, open: impl FnOnce(&Path) -> std::io::Result<T>) -> Result<T> {
    if path.as_os_str().len() <= SOCKET_PATH_LIMIT {
        return Ok(open(path)?);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("not a path of a socket")
    };
    let here = std::env::current_dir()?;
    std::env::set_current_dir(folder)?;
    let result = open(Path::new(name));
    std::env::set_current_dir(here)?;
    Ok(result?)
}

/// Asks the supervisor; none when there is none, or when it was killed before it could answer.
pub(crate) fn ask(place: &Place, request: &Value) -> Result<Option<Value>> {
    let Ok(stream) = within_limit(&place.socket(), |path| UnixStream::connect(path)) else {
        return Ok(None);
    };
    let line = match converse(stream, request) {
        Ok(line) => line,
        Err(_) if process::wait_until(DEATH, || !place.is_supervised()) => return Ok(None),
        Err(error) => return Err(error.context("the supervisor does not answer")),
    };
    let answer: Value =
        serde_json::from_str(&line).context("the supervisor's answer is no JSON")?;
    match answer["error"].as_str() {
        Some(error) => bail!("{error}"),
        None => Ok(Some(answer)),
    }
}

fn converse(mut stream: UnixStream, request: &Value) -> Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{request}")?;
    let mut line = String::new();
    if BufReader::new(stream).read_line(&mut line)? == 0 {
        bail!("it ended instead");
    }
    Ok(line)
}

/// What `apply` does with services that run and are not in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    Stop,
    Keep,
}

/// Makes the supervisor run these services; starts a supervisor when there is none. Services whose
/// spec is the same go on undisturbed.
pub(crate) fn apply(project: &Project, plan: &[Spec], others: Others) -> Result<()> {
    let place = Place::at(project.root());
    if status(&place)?.is_none() {
        start_supervisor(&place)?;
    }
    let plan: Vec<Value> = plan.iter().map(Spec::to_json).collect();
    let request = json!({ "do": "apply", "plan": plan, "keep": others == Others::Keep });
    match ask(&place, &request)? {
        Some(_) => Ok(()),
        None => bail!(
            "the supervisor is gone; its log is {}",
            place.log("supervisor").display()
        ),
    }
}

fn start_supervisor(place: &Place) -> Result<()> {
    // Not behind the back of a `down` that Ctrl-C has brought about.
    interrupt::settle();
    place.make()?;
    let path = place.log("supervisor");
    fs::create_dir_all(path.parent().unwrap_or(place.root()))?;
    let log = File::options().create(true).append(true).open(&path)?;
    // It leaves our session by itself; nothing of the terminal's is handed on.
    Command::new(std::env::current_exe()?)
        .arg("supervise")
        .arg(place.root())
        .current_dir(place.root())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .shown()
        .spawn()
        .context("the supervisor cannot be started")?;
    let answers = || matches!(ask(place, &json!({ "do": "status" })), Ok(Some(_)));
    if !process::wait_until(Duration::from_secs(15), answers) {
        bail!(
            "the supervisor did not start; its log is {}",
            path.display()
        );
    }
    Ok(())
}

/// One service as the supervisor sees it.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) name: String,
    /// `running`, `restarting` or `exited`.
    pub(crate) state: String,
    /// `healthy`, `unhealthy`, `starting` or `none`.
    pub(crate) health: String,
    pub(crate) address: String,
    /// From its start until it was healthy.
    pub(crate) seconds: Option<f64>,
    /// The process id while it runs.
    pub(crate) pid: Option<u32>,
    /// How it ended last: `exited with code 1`.
    pub(crate) last_exit: Option<String>,
    /// Where in its log the last start began, in bytes.
    pub(crate) log_offset: u64,
}

/// The state of all services; none when there is no supervisor.
pub(crate) fn status(place: &Place) -> Result<Option<Vec<Status>>> {
    let Some(answer) = ask(place, &json!({ "do": "status" }))? else {
        return Ok(None);
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let services = answer["services"].as_array().cloned().unwrap_or_default();
    let of_json = |service: &Value| Status {
        name: text(&service["name"]),
        state: text(&service["state"]),
        health: text(&service["health"]),
        address: text(&service["address"]),
        seconds: service["seconds"].as_f64(),
        pid: service["pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok()),
        last_exit: service["last_exit"].as_str().map(str::to_owned),
        log_offset: service["log_offset"].as_u64().unwrap_or(0),
    };
    Ok(Some(services.iter().map(of_json).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_can_have_a_long_path() {
        let folder = std::env::temp_dir()
            .join(format!("slipway-{}", std::process::id()))
            .join("x".repeat(120));
        let place = Place::at(&folder);
        place.make().unwrap();
        let listener = place.listen().unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(b"{\"services\": []}\n").unwrap();
        });
        assert!(status(&place).unwrap().unwrap().is_empty());
        server.join().unwrap();
        assert!(!place.is_supervised());
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }
}
