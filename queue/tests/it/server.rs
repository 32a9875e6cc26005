//! A Redis of the test's own, to stop and to start.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub(crate) struct Server {
    port: u16,
    dir: tempfile::TempDir,
    child: Option<Child>,
    append_only: bool,
}

impl Server {
    /// A server on a free port, with or without an append-only file.
    pub(crate) fn start(append_only: bool) -> Self {
        let mut server = Self {
            port: free_port(),
            dir: tempfile::tempdir().unwrap(),
            child: None,
            append_only,
        };
        server.resume();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its socket file, as an address.
    pub(crate) fn socket(&self) -> String {
        format!("redis+unix://{}", self.dir.path().join("redis").display())
    }

    /// Where it keeps its data, and a test what else the server is to read.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends the server as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Makes it silent: its port is open, and it answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Starts it again, with what is on its disk.
    pub(crate) fn resume(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string()])
            .args(["--bind", "127.0.0.1"])
            .args(["--save", ""])
            .args(["--appendonly", if self.append_only { "yes" } else { "no" }])
            .args(["--appendfsync", "always"])
            .args(["--unixsocket", "redis"])
            .arg("--dir")
            .arg(self.dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect(
                "redis-server is not in PATH: run the tests with `cargo xtask test`, \
                 or install Redis 7 or newer",
            );
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(10);
        while !self.answers() {
            assert!(Instant::now() < end, "redis-server does not start");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn answers(&self) -> bool {
        queue::redis::Client::open(self.url())
            .and_then(|client| client.get_connection())
            .and_then(|mut connection| queue::redis::cmd("PING").query::<String>(&mut connection))
            .is_ok()
    }
}

/// A port that nobody listened on just now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
