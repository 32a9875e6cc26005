//! The binary as a supervisor sees it.

use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};

use domain::accounts::{Email, Password, sign_up};
use migrations::MIGRATOR;
use migrations::testing::{TestDatabase, database, empty_database};
use service::health;

use super::smtp::Server;
use super::{redis_env, until};

/// Settings for one worker process and the ways to reach it.
pub(crate) struct Process {
    env: Vec<(&'static str, String)>,
    probes: std::net::SocketAddr,
}

impl Process {
    pub(crate) fn new(database: &TestDatabase, mail_dir: &std::path::Path) -> Self {
        let redis = queue::testing::settings();
        // Asked for a port, the system gives a free one; the process takes it a moment later.
        let probes = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut env = database.env().to_vec();
        env.extend(redis_env(&redis));
        env.extend([
            ("QUEUE_LEASE_SECONDS", "2".to_owned()),
            ("WORKER_HEALTH_ADDR", probes.to_string()),
            (
                "WEBHOOK_SECRET",
                "hT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e".to_owned(),
            ),
            ("MAIL_DIR", mail_dir.to_str().unwrap().to_owned()),
        ]);
        Self { env, probes }
    }

    pub(crate) fn set(&mut self, name: &'static str, value: &dyn ToString) {
        self.env.push((name, value.to_string()));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command
            .args(args)
            .env_clear()
            .envs(self.env.iter().cloned());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self) -> Running {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let child = self
            .command(&["run"])
            .stderr(stderr.reopen().unwrap())
            .spawn()
            .unwrap();
        Running { child, stderr }
    }

    pub(crate) async fn ready(&self) {
        let addr = self.probes;
        until("ready", async || {
            tokio::task::spawn_blocking(move || health::check(addr, "/readyz").is_ok())
                .await
                .unwrap()
        })
        .await;
    }

    /// Runs it although it will not start; returns what it says.
    pub(crate) async fn refused(&self) -> String {
        let mut running = self.run();
        until_ended(&mut running.child).await;
        assert_eq!(running.child.wait().unwrap().code(), Some(1));
        running.log()
    }

    fn healthcheck(&self, args: &[&str]) -> bool {
        let args = [&["healthcheck"], args].concat();
        self.command(&args)
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }
}

/// A worker process, ended with the test.
pub(crate) struct Running {
    child: Child,
    stderr: tempfile::NamedTempFile,
}

impl Running {
    fn log(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as a supervisor does, and waits for its end.
    pub(crate) async fn terminate(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        until_ended(&mut self.child).await;
        (self.child.wait().unwrap(), self.log())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn signed_up(database: &TestDatabase) {
    let email = Email::parse("ada@example.com").unwrap();
    let password = Password::parse("correct horse").unwrap();
    sign_up(&database.pool, &email, password).await.unwrap();
}

pub(crate) async fn left(database: &TestDatabase) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM job_outbox")
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

/// The header that is the same in every attempt.
fn message_id(mail: &str) -> String {
    mail.lines()
        .find(|line| line.starts_with("Message-ID: "))
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_a_mail_is_followed_by_one_that_sends_it() {
    let (database, dir) = (database().await, tempfile::tempdir().unwrap());
    let server = Server::start("250 ok").await;
    let mut process = Process::new(&database, dir.path());
    process.set("SMTP_HOST", &server.addr.ip());
    process.set("SMTP_PORT", &server.addr.port());
    process.set("SMTP_TLS", &"none");

    server.hang(true);
    let first = process.run();
    signed_up(&database).await;
    until("the mail is on its way", async || server.arrived() == 1).await;
    first.kill();
    assert_eq!((server.mails().len(), left(&database).await), (0, 1));

    server.hang(false);
    let second = process.run();
    until("the mail is sent", async || left(&database).await == 0).await;
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("Token: "));
    assert!(message_id(&mails[0]).ends_with("@localhost>"));
    let (status, log) = second.terminate().await;
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn a_worker_that_is_stopped_ends_well_and_leaves_nothing_undone() {
    let (database, dir) = (database().await, tempfile::tempdir().unwrap());
    let mut process = Process::new(&database, dir.path());
    process.set("LOG_FORMAT", &"json");
    let running = process.run();
    process.ready().await;
    signed_up(&database).await;
    until("the mail is sent", async || left(&database).await == 0).await;
    let (status, log) = running.terminate().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let sent = log
        .lines()
        .find(|line| line.contains(r#""message":"sent""#));
    let sent = sent.unwrap_or_else(|| panic!("not logged\n{log}"));
    assert!(
        sent.contains(r#""job.id":""#) && sent.contains(r#""job.name":"send_email""#),
        "{sent}"
    );
    assert!(
        !log.contains("ada@example.com"),
        "an address is personal data\n{log}"
    );
}

#[tokio::test]
async fn it_is_alive_but_not_ready_until_the_schema_is_there() {
    let (database, dir) = (empty_database().await, tempfile::tempdir().unwrap());
    let process = Process::new(&database, dir.path());
    assert!(!process.healthcheck(&["--live"]), "nothing runs yet");
    let running = process.run();
    until("alive", async || process.healthcheck(&["--live"])).await;
    assert!(!process.healthcheck(&[]));
    MIGRATOR.run(&database.pool).await.unwrap();
    process.ready().await;
    assert!(process.healthcheck(&[]));
    signed_up(&database).await;
    until("the mail is sent", async || left(&database).await == 0).await;
    let (status, log) = running.terminate().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("there is no schema yet"), "{log}");
}

#[tokio::test]
async fn everything_wrong_with_the_settings_is_said_at_once() {
    let (database, dir) = (database().await, tempfile::tempdir().unwrap());
    let mut process = Process::new(&database, dir.path());
    process.set("WORKER_HEALTH_ADDR", &"0.0.0.0:8001");
    process.set("WORKER_CONCURRENCY", &"none");
    process.set("REDIS_PASSWORD", &"changeme");
    process.set("SMTP_TLS", &"perhaps");
    let output = process.command(&["run"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    for name in [
        "WORKER_HEALTH_ADDR",
        "WORKER_CONCURRENCY",
        "REDIS_PASSWORD",
        "SMTP_TLS",
    ] {
        assert!(said.contains(name), "{said}");
    }
    let version = process.command(&["--version"]).output().unwrap();
    assert!(
        String::from_utf8(version.stdout)
            .unwrap()
            .starts_with("worker ")
    );
}

#[tokio::test]
async fn outside_of_development_a_redis_that_may_lose_jobs_is_refused() {
    let (database, dir) = (database().await, tempfile::tempdir().unwrap());
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let redis = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--maxmemory-policy", "allkeys-lru"])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is not in PATH: run the tests with `cargo xtask test`");
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let _redis = Running {
        child: redis,
        stderr,
    };
    let mut process = Process::new(&database, dir.path());
    process.set("APP_ENV", &"staging");
    process.set("PUBLIC_URL", &"https://app.example.org");
    process.set("SMTP_HOST", &"mail.example.org");
    process.set("REDIS_HOST", &"127.0.0.1");
    process.set("REDIS_PORT", &port);
    process.set("REDIS_USER", &"default");

    let mut running = process.run();
    until_ended(&mut running.child).await;
    assert_eq!(running.child.wait().unwrap().code(), Some(1));
    let log = running.log();
    assert!(
        log.contains("allkeys-lru") && log.contains("noeviction"),
        "{log}"
    );
}

async fn until_ended(child: &mut Child) {
    let patience = async {
        while child.try_wait().unwrap().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), patience)
        .await
        .expect("the process ends");
}
