//! The service that is fuzzed: of its own, on throw-away servers, with accounts of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::schemathesis;
use crate::e2e::{
    client::Client,
    mail::{self, Mailbox},
};
use crate::native::{self, inherited, process, throw_away::ThrowAway};
use crate::ports;
use crate::project::Project;
use crate::secrets;

/// How long the service may take to be ready, and a mail to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running API; dropping it stops it, and then its servers.
pub(super) struct Service {
    api: Running,
    binaries: BTreeMap<String, PathBuf>,
    env: BTreeMap<String, String>,
    folder: PathBuf,
    address: String,
    _servers: ThrowAway,
}

/// A process that ends with whoever holds this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Service {
    /// Builds everything, starts the servers, moves the schema and starts the API.
    pub(super) fn start(project: &Project) -> Result<Self> {
        let binaries = native::build(project, &["api", "worker", "migrations"])?;
        let servers = ThrowAway::start(project, true, None)?;
        let folder = schemathesis::folder(project);
        let address = format!("127.0.0.1:{}", ports::unused()?);
        let env = environment(&servers, &folder, &address)?;
        let run = |words: &[&str]| command(&binaries, words, &env, &folder);
        let migrate = run(&["migrate", "run"])?.status();
        if !migrate.context("`migrate` cannot be started")?.success() {
            bail!("the schema could not be moved; see {}", folder.display());
        }
        let service = Self {
            api: spawn(run(&["api", "serve"])?)?,
            binaries,
            env,
            folder,
            address,
            _servers: servers,
        };
        service.until_ready()?;
        Ok(service)
    }

    /// `http://127.0.0.1:PORT`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the API's log is.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("api-serve.log")
    }

    /// Signs up with each address and password, proves it, and makes the first account an admin's.
    ///
    /// A worker runs only until the mails are there: later it would call the fuzzer's webhooks.
    pub(super) fn make_accounts(&self, users: &[(String, String)]) -> Result<()> {
        let client = Client::new(&self.address);
        let worker = spawn(self.command(&["worker", "run"])?)?;
        let mailbox = Mailbox::Folder(self.folder.join("mail"));
        for (email, password) in users {
            let account = json!({ "email": email, "password": password });
            client.post("/v1/accounts", &account)?.expect(202)?;
            let mails = mailbox.wait(email, 1, PATIENCE)?;
            let proof = json!({ "token": mail::token(&mails[0])? });
            client.post("/v1/accounts/verify", &proof)?.expect(204)?;
        }
        drop(worker);
        let (admin, _) = users.first().context("users.json names nobody")?;
        let grant = self.command(&["api", "admin", "grant", admin])?.status();
        if !grant.context("`api admin` cannot be started")?.success() {
            bail!("no admin could be made; see {}", self.folder.display());
        }
        Ok(())
    }

    fn command(&self, words: &[&str]) -> Result<Command> {
        command(&self.binaries, words, &self.env, &self.folder)
    }

    fn until_ready(&self) -> Result<()> {
        let client = Client::new(&self.address);
        let ready = || {
            let answer = client.get("/readyz");
            answer.is_ok_and(|answer| answer.status == 200)
        };
        if !process::wait_until(PATIENCE, ready) {
            bail!(
                "the API (process {}) is not ready; see {}",
                self.api.0.id(),
                self.log().display()
            );
        }
        Ok(())
    }
}

/// The environment of all three; each reads what it needs.
fn environment(
    servers: &ThrowAway,
    folder: &Path,
    address: &str,
) -> Result<BTreeMap<String, String>> {
    let (database_host, database_port) = host_and_port(&servers.database_url)?;
    let redis = servers.redis_url.as_deref();
    let (redis_host, redis_port) = host_and_port(redis.context("no Redis was started")?)?;
    let mail = folder.join("mail");
    // Mails of the run before are for the same address.
    if mail.exists() {
        fs::remove_dir_all(&mail)?;
    }
    fs::create_dir_all(&mail)?;
    // The servers ask for no password; the settings ask for one.
    let password = secrets::word()?;
    let ours = [
        ("DATABASE_HOST", database_host),
        ("DATABASE_PORT", database_port),
        ("DATABASE_NAME", "postgres".to_owned()),
        ("DATABASE_USER", "postgres".to_owned()),
        ("DATABASE_PASSWORD", password.clone()),
        ("REDIS_HOST", redis_host),
        ("REDIS_PORT", redis_port),
        ("REDIS_USER", "default".to_owned()),
        ("REDIS_PASSWORD", password),
        ("JWT_SECRET", secrets::word()?),
        ("WEBHOOK_SECRET", secrets::word()?),
        ("API_ADDR", address.to_owned()),
        // One client that is in a hurry.
        ("API_LIMITS", "all=1000000/1".to_owned()),
        ("PUBLIC_URL", format!("http://{address}")),
        (
            "WORKER_HEALTH_ADDR",
            format!("127.0.0.1:{}", ports::unused()?),
        ),
        ("MAIL_DIR", mail.display().to_string()),
    ];
    let mut env = inherited();
    env.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    Ok(env)
}

/// `127.0.0.1` and `5432` of `postgres://postgres@127.0.0.1:5432/postgres`.
fn host_and_port(url: &str) -> Result<(String, String)> {
    let authority = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let place = authority.and_then(|authority| authority.rsplit('@').next());
    let (host, port) = place
        .and_then(|place| place.rsplit_once(':'))
        .with_context(|| format!("{url} names no port"))?;
    Ok((host.to_owned(), port.to_owned()))
}

/// A program of ours and its words; what it says goes into a file that is named for both.
fn command(
    binaries: &BTreeMap<String, PathBuf>,
    words: &[&str],
    env: &BTreeMap<String, String>,
    folder: &Path,
) -> Result<Command> {
    let [name, args @ ..] = words else {
        bail!("no program is named");
    };
    let program = binaries.get(*name);
    let program = program.with_context(|| format!("the build made no `{name}`"))?;
    let verb = args.first().copied().unwrap_or_default();
    let log = folder.join(format!("{name}-{verb}.log"));
    let file =
        File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stderr(file.try_clone()?)
        .stdout(file);
    Ok(command)
}

fn spawn(mut command: Command) -> Result<Running> {
    let child = command.spawn();
    child.map(Running).context("a service cannot be started")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_server_is_read_from_its_address() {
        let place = |url| host_and_port(url).unwrap();
        let postgres = place("postgres://postgres@127.0.0.1:5432/postgres");
        assert_eq!(postgres, ("127.0.0.1".to_owned(), "5432".to_owned()));
        let redis = place("redis://127.0.0.1:6379");
        assert_eq!(redis, ("127.0.0.1".to_owned(), "6379".to_owned()));
        assert!(host_and_port("redis://here").is_err());
    }
}
