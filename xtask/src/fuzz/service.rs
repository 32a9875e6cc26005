//! The service that is fuzzed: of its own, on throw-away servers, with an account.

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

const EMAIL: &str = "fuzz@example.org";
const PASSWORD: &str = "correct horse battery staple";

/// The running API; dropping it stops it, and then its servers.
pub(crate) struct Service {
    api: Running,
    worker: PathBuf,
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
    pub(crate) fn start(project: &Project) -> Result<Self> {
        let binaries = native::build(project, &["api", "worker", "migrations"])?;
        let binary = |name: &str| {
            let path = binaries.get(name).cloned();
            path.with_context(|| format!("the build made no `{name}`"))
        };
        let servers = ThrowAway::start(project, true, None)?;
        let folder = schemathesis::folder(project);
        let address = format!("127.0.0.1:{}", ports::unused()?);
        let env = environment(&servers, &folder, &address)?;
        let migrate = command(
            &binary("migrate")?,
            "run",
            &env,
            &folder.join("migrate.log"),
        )?
        .status();
        if !migrate.context("`migrate` cannot be started")?.success() {
            bail!("the schema could not be moved; see {}", folder.display());
        }
        let api = command(&binary("api")?, "serve", &env, &folder.join("api.log"))?;
        let service = Self {
            api: spawn(api)?,
            worker: binary("worker")?,
            env,
            folder,
            address,
            _servers: servers,
        };
        service.until_ready()?;
        Ok(service)
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the API's log is.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("api.log")
    }

    /// Signs up, proves the address, and gives an access token.
    ///
    /// A worker runs only until the mail is there: later it would call the webhooks of the fuzzer.
    pub(crate) fn log_in(&self) -> Result<String> {
        let client = Client::new(&self.address);
        let account = json!({ "email": EMAIL, "password": PASSWORD });
        client.post("/v1/accounts", &account)?.expect(202)?;
        let log = self.folder.join("worker.log");
        let worker = spawn(command(&self.worker, "run", &self.env, &log)?)?;
        let mailbox = Mailbox::Folder(self.folder.join("mail"));
        let mails = mailbox.wait(EMAIL, 1, PATIENCE)?;
        drop(worker);
        let proof = json!({ "token": mail::token(&mails[0])? });
        client.post("/v1/accounts/verify", &proof)?.expect(204)?;
        let tokens = client.post("/v1/sessions", &account)?.expect(200)?;
        tokens.text("access_token")
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

/// A program of ours; what it says goes into the file `log`.
fn command(
    program: &Path,
    verb: &str,
    env: &BTreeMap<String, String>,
    log: &Path,
) -> Result<Command> {
    let file = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
    let mut command = Command::new(program);
    command
        .arg(verb)
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
