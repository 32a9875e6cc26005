//! A small checkout of its own, with what the command needs and nothing that takes long to build.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Files of the project that native servers are run with.
const FILES: [&str; 4] = [
    ".env.example",
    "docker/redis.conf",
    "docker/postgres/database.sql",
    "docker/postgres/roles.sql",
];

/// A folder that is taken down and removed at the end of the test.
pub(crate) struct Checkout {
    pub(crate) root: PathBuf,
}

impl Checkout {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xtask-it-{}-{number}", std::process::id());
        Self::at(std::env::temp_dir().canonicalize().unwrap().join(name))
    }

    /// One in this folder, which is made.
    pub(crate) fn at(root: PathBuf) -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for file in FILES {
            let copy = root.join(file);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(project.join(file), copy).unwrap();
        }
        fs::create_dir(root.join("migrations")).unwrap();
        Self { root }
    }

    /// All of it in another folder, as `cp -a` makes it.
    pub(crate) fn copy(&self) -> Self {
        let root = self.root.with_extension("copy");
        let copied = Command::new("cp")
            .arg("-a")
            .args([&self.root, &root])
            .status();
        assert!(copied.unwrap().success());
        Self { root }
    }

    /// One whose servers can run here. None where `cargo xtask test` itself had to resort to
    /// containers: then native mode cannot be tested, and the test says so.
    pub(crate) fn with_servers() -> Option<Self> {
        let checkout = Self::new();
        let document: Value =
            serde_json::from_slice(&checkout.run(&["doctor", "--json"]).stdout).unwrap();
        let checks = document["checks"].as_array().unwrap();
        if checks
            .iter()
            .any(|check| check["name"] == "native" && check["status"] == "ok")
        {
            return Some(checkout);
        }
        eprintln!("not tested: no Postgres or no Redis is installed on this machine");
        None
    }

    /// The command, without a terminal and without what this test run was told.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(words)
            .env("CARGO_MANIFEST_DIR", self.root.join("xtask"))
            .env_remove("APP_ENV")
            .env_remove("COMPOSE_PROJECT_NAME")
            .current_dir(&self.root)
            .stdin(Stdio::null());
        command
    }

    /// It runs in the foreground of a shell of its own, and somebody reads what it says.
    pub(crate) fn begin(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        let leader = command.process_group(0).stdout(Stdio::null());
        leader.stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What it prints; it must succeed.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(
            output.status.success(),
            "{words:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// What it says on failing; it must fail with 1.
    pub(crate) fn refused(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{words:?}: {}",
            text(&output.stdout)
        );
        text(&output.stderr)
    }

    /// A statement that Postgres has to refuse.
    pub(crate) fn refused_by_psql(&self, sql: &str) {
        let output = self.run(&["psql", "-c", sql]);
        assert_eq!(output.status.code(), Some(1), "{sql}");
        assert!(text(&output.stderr).contains("ERROR"), "{output:?}");
    }

    /// Where a service listens on 127.0.0.1.
    pub(crate) fn port(&self, name: &str) -> u16 {
        let service = self.service(name);
        let address = service["address"].as_str().unwrap();
        address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// A service of `ps --json`.
    pub(crate) fn service(&self, name: &str) -> Value {
        let document: Value = serde_json::from_str(&self.ok(&["ps", "--json"])).unwrap();
        assert_eq!(document["mode"], "native");
        let services = document["services"].as_array().unwrap();
        services
            .iter()
            .find(|service| service["name"] == name)
            .unwrap()
            .clone()
    }

    /// The id of a service's process; none while it waits for its restart.
    pub(crate) fn pid(&self, name: &str) -> Option<u32> {
        let record = fs::read_to_string(self.root.join(".slipway/native/processes.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        let processes = record["processes"].as_array().unwrap();
        let process = processes.iter().find(|process| process["name"] == name)?;
        u32::try_from(process["pid"].as_u64()?).ok()
    }

    /// The id of the supervisor.
    pub(crate) fn supervisor(&self) -> u32 {
        let services = [self.pid("postgres"), self.pid("redis")];
        let is_supervisor = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains("supervise"))
        };
        self.processes()
            .into_iter()
            .find(|pid| !services.contains(&Some(*pid)) && is_supervisor(pid))
            .unwrap()
    }

    /// The ids of all processes that name the checkout in their command line.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let output = Command::new("ps")
            .args(["-eo", "pid=,args="])
            .output()
            .unwrap();
        let root = self.root.display().to_string();
        let listed = text(&output.stdout);
        let ours = listed.lines().filter(|line| line.contains(&root));
        ours.map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // Also after a failed assertion: nothing may be left behind.
        let down = self.command(&["down", "--volumes", "--yes"]).output();
        let removed = fs::remove_dir_all(&self.root);
        if !std::thread::panicking() {
            assert!(down.is_ok() && removed.is_ok(), "{down:?} {removed:?}");
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends a process as a crash would.
pub(crate) fn kill(pid: u32) {
    signal("-KILL", &pid.to_string());
}

/// What Ctrl-C does: a signal to everybody in the foreground, whose leader this is.
pub(crate) fn interrupt(leader: Child) -> Output {
    signal("-INT", &format!("-{}", leader.id()));
    ended(leader)
}

/// Waits until it ends, which it must.
pub(crate) fn ended(leader: Child) -> Output {
    let group = format!("-{}", leader.id());
    let (sender, output) = mpsc::channel();
    // What it says is read meanwhile: a full pipe would keep it alive.
    thread::spawn(move || sender.send(leader.wait_with_output()));
    let output = output.recv_timeout(Duration::from_secs(60));
    let output = output.unwrap_or_else(|_| {
        signal("-KILL", &group);
        panic!("it does not end")
    });
    output.unwrap()
}

/// Sends `-NAME` to a process, or to a group when its number has a minus.
pub(crate) fn signal(name: &str, target: &str) {
    let kill = Command::new("kill").args([name, "--", target]).status();
    assert!(kill.unwrap().success());
}

/// Polls until the condition holds.
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    let mut condition = condition;
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 30, "never: {what}");
        thread::park_timeout(Duration::from_millis(50));
    }
}
