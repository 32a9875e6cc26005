//! The binary itself: its settings, its signals and its exit codes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;

fn api(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api"));
    command.args(arguments).env_clear();
    command
}

/// `api serve` with neither Postgres nor Redis: it listens all the same.
pub(crate) struct Server {
    child: Child,
    begun: Vec<Value>,
    log: BufReader<std::process::ChildStderr>,
    pub(crate) addr: String,
    /// Where its metrics are.
    pub(crate) metrics: String,
}

impl Server {
    pub(crate) fn start(grace_seconds: u32) -> Self {
        let mut child = api(&["serve"])
            .envs([
                ("API_ADDR", "127.0.0.1:0"),
                ("METRICS_ADDR", "127.0.0.1:0"),
                ("LOG_FORMAT", "json"),
                ("JWT_SECRET", "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T"),
                ("WEBHOOK_SECRET", "hT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e"),
                ("DATABASE_PORT", "1"),
                ("DATABASE_PASSWORD", "k3Vx8aPq0ZtR5mWy"),
                ("REDIS_PORT", "1"),
                ("REDIS_PASSWORD", "Zp7Lw2Qx9Rt4Yb6N"),
                ("SHUTDOWN_GRACE_SECONDS", &grace_seconds.to_string()),
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut begun: Vec<Value> = Vec::new();
        let mut metrics = None;
        let addr = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
            begun.push(serde_json::from_str(&line).unwrap());
            let line = &begun[begun.len() - 1];
            if line["message"] == "metrics" {
                metrics = line["address"].as_str().map(ToOwned::to_owned);
            }
            if line["message"] == "listening" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        Self {
            child,
            begun,
            log,
            addr,
            metrics: metrics.unwrap(),
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn healthcheck(&self, arguments: &[&str]) -> std::process::Output {
        let mut all = vec!["healthcheck"];
        all.extend(arguments);
        api(&all).env("API_ADDR", &self.addr).output().unwrap()
    }

    /// Waits for the end, and gives the whole log.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<Value>) {
        let lines = self.log.by_ref().lines().map(Result::unwrap);
        // The reason of a failure is for people, and comes last.
        let lines = lines.filter(|line| !line.starts_with("api: "));
        let lines = lines.map(|line| serde_json::from_str(&line).unwrap());
        self.begun.extend(lines);
        (self.child.wait().unwrap(), self.begun)
    }

    /// A request that never ends.
    pub(crate) fn hold(&self) -> TcpStream {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        stream
            .write_all(
                b"POST /v1/sessions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n\
                  expect: 100-continue\r\ncontent-length: 9\r\n\r\n",
            )
            .unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.contains("100 Continue"), "{line}");
        stream
    }
}

#[test]
fn all_settings_that_are_wrong_are_told_at_once() {
    let output = api(&["serve"])
        .envs([
            ("LOG_FORMAT", "xml"),
            ("JWT_SECRET", "changeme"),
            ("REDIS_PORT", "0"),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("api: 6 settings are wrong:\n"), "{told}");
    for name in [
        "LOG_FORMAT",
        "JWT_SECRET",
        "DATABASE_PASSWORD",
        "REDIS_PORT",
        "REDIS_PASSWORD",
        "WEBHOOK_SECRET",
    ] {
        assert!(told.contains(name), "{told}");
    }
    assert!(!told.contains("changeme"), "{told}");
}

#[test]
fn it_lives_without_its_dependencies_and_stops_with_0() {
    let server = Server::start(20);
    assert!(server.healthcheck(&["--live"]).status.success());
    let output = server.healthcheck(&[]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("503") && told.contains("postgres") && told.contains("redis"),
        "{told}"
    );

    server.signal("TERM");
    let (status, log) = server.end();
    assert!(status.success(), "{status}: {log:#?}");
    let reason = log.iter().find(|line| line["database.port"] == 1).unwrap();
    let reason = reason["message"].as_str().unwrap();
    assert!(reason.contains("refused"), "{reason}");
    assert!(
        log.iter().any(|line| line["signal"] == "SIGTERM"),
        "{log:#?}"
    );
    assert_eq!(log.last().unwrap()["message"], "stopped");
}

#[test]
fn a_second_signal_aborts_what_the_first_waits_for() {
    let server = Server::start(3000);
    let held = server.hold();
    server.signal("INT");
    std::thread::spawn({
        let pid = server.child.id().to_string();
        move || {
            // Long enough for the first to be noticed; two at once would be merged into one.
            std::thread::park_timeout(Duration::from_secs(1));
            Command::new("kill")
                .args(["-s", "TERM", &pid])
                .status()
                .unwrap()
        }
    });
    let (status, log) = server.end();
    // The supervisor hears that somebody did not get an answer.
    assert_eq!(status.code(), Some(1), "{log:#?}");
    for message in [
        "second signal, aborting",
        "failed: 1 request(s) were cut off",
    ] {
        assert!(
            log.iter().any(|line| line["message"] == message),
            "{log:#?}"
        );
    }
    drop(held);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = Server::start(20);
    for (name, addr) in [
        ("API_ADDR", &server.addr),
        ("METRICS_ADDR", &server.metrics),
    ] {
        let output = api(&["serve"])
            .envs([
                ("API_ADDR", "127.0.0.1:0"),
                (name, addr),
                ("JWT_SECRET", "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T"),
                ("WEBHOOK_SECRET", "hT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e"),
                ("DATABASE_PASSWORD", "k3Vx8aPq0ZtR5mWy"),
                ("REDIS_PASSWORD", "Zp7Lw2Qx9Rt4Yb6N"),
            ])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        let expected = format!("api: cannot listen on {addr}; {name} names another address");
        assert!(told.contains(&expected), "{told}");
    }
    server.signal("TERM");
    server.end();
}
