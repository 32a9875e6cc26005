//! A Postgres of the checkout's own: its data, its roles, how it is run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::account::{self, Account};
use super::control::Place;
use super::plan::{Spec, stamp};
use super::probe::Probe;
use super::process;
use super::servers::Postgres;
use crate::interrupt;
use crate::project::{Project, write_whole};
use crate::secrets;
use crate::verbose::Shown as _;

/// How to make a data folder.
pub(crate) struct Cluster<'a> {
    /// The programs.
    pub(crate) postgres: &'a Postgres,
    /// Who owns it and runs it.
    pub(crate) account: Option<Account>,
    /// Where it lies.
    pub(crate) data: &'a Path,
}

impl Cluster<'_> {
    /// Makes the data folder; none of it is there unless all of it is.
    ///
    /// Without a password everybody on this machine is let in: only for throw-away servers.
    pub(crate) fn make(&self, superuser_password: Option<&str>) -> Result<()> {
        let fresh = self.data.with_extension("new");
        let password_file = self.data.with_extension("password");
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        if password_file.exists() {
            fs::remove_file(&password_file)?;
        }
        let half = (fresh.clone(), password_file.clone());
        let _guard = interrupt::guard(move || {
            // What is not there need not go.
            let _ = fs::remove_file(&half.1);
            let _ = fs::remove_dir_all(&half.0);
        });
        // Nothing of it is made behind the guard's back.
        let (initdb, ends) = interrupt::whole(|| {
            let child = self.begin(&fresh, &password_file, superuser_password)?;
            let ends = interrupt::ends_with_us(&child);
            anyhow::Ok((child, ends))
        })?;
        let output = initdb.wait_with_output();
        drop(ends);
        if superuser_password.is_some() {
            fs::remove_file(&password_file)?;
        }
        let output = output.context("initdb cannot be waited for")?;
        if !output.status.success() {
            bail!(
                "initdb failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        interrupt::whole(|| fs::rename(&fresh, self.data))
            .context("the new data folder cannot be put in its place")
    }

    /// Starts initdb for the folder `fresh`, which is made. The password is handed on in a file.
    fn begin(
        &self,
        fresh: &Path,
        password_file: &Path,
        superuser_password: Option<&str>,
    ) -> Result<Child> {
        account::private_folder(fresh, self.account)?;
        let mut initdb = process::command(&self.postgres.program("initdb"), self.account);
        initdb.args([
            "--username=postgres",
            "--encoding=UTF8",
            "--no-locale",
            "--data-checksums",
        ]);
        initdb
            .arg("--pgdata")
            .arg(fresh)
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        match superuser_password {
            Some(password) => {
                // The other user cannot read `secrets/`; this copy lives for the second of initdb.
                let options = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(0o400)
                    .open(password_file);
                let mut file = options.context("a password file cannot be made")?;
                file.write_all(password.as_bytes())?;
                if let Some(account) = self.account {
                    account.own(password_file)?;
                }
                initdb
                    .arg("--auth=scram-sha-256")
                    .arg("--pwfile")
                    .arg(password_file);
            }
            None => {
                initdb.args(["--auth=trust", "--no-sync"]);
            }
        }
        initdb.shown().spawn().context("initdb cannot be started")
    }

    /// The arguments of `postgres`: TCP on loopback alone. Without a Unix socket there is no path
    /// that could be too long or in somebody's way.
    pub(crate) fn args(&self, port: u16, settings: &[&str]) -> Vec<String> {
        let port = format!("port={port}");
        let fixed = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            port.as_str(),
        ];
        let mut args = vec!["-D".to_owned(), self.data.display().to_string()];
        for setting in fixed.iter().chain(settings) {
            args.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        args
    }

    /// For the supervisor.
    pub(crate) fn spec(&self, port: u16) -> Spec {
        let program = self.postgres.program("postgres");
        Spec {
            name: "postgres".to_owned(),
            // UTC, as all logs: they are merged by their times.
            args: self.args(port, &["log_timezone=UTC"]),
            env: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
            folder: self.data.to_path_buf(),
            account: self.account,
            probe: Probe::Postgres {
                program: self.postgres.program("pg_isready"),
                port,
            },
            address: format!("127.0.0.1:{port}"),
            stops_on_interrupt: true,
            grace_seconds: 60,
            stamp: stamp(&[&program]),
            program,
        }
    }
}

/// The major version that made the data, if there is data.
pub(crate) fn version_of_data(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Writes the password file for psql and its kin: a line for each role.
pub(crate) fn write_passwords(project: &Project, place: &Place, port: u16) -> Result<()> {
    let line = |role: &secrets::Role| {
        // The format's own characters; a generated password has none of them.
        let password = secrets::read(project, role.secret)?
            .replace('\\', "\\\\")
            .replace(':', "\\:");
        Ok::<_, anyhow::Error>(format!("127.0.0.1:{port}:*:{}:{password}\n", role.name))
    };
    let text: String = secrets::ROLES.iter().map(line).collect::<Result<_>>()?;
    let path = place.passwords();
    if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
        // Its folder is closed; psql itself refuses a file that others may read.
        write_whole(&path, &text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Makes roles and database, or sets their passwords to what `secrets/` says; the scripts are those
/// that Docker runs.
pub(crate) fn make_roles(
    project: &Project,
    place: &Place,
    postgres: &Postgres,
    port: u16,
) -> Result<()> {
    let scripts = project.root().join("docker/postgres");
    let output = client(place, postgres, port, "psql", "postgres")
        .args(["-q", "-X", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-v"])
        .arg(format!("secrets={}", project.secrets_dir().display()))
        .arg("-f")
        .arg(scripts.join("roles.sql"))
        .arg("-f")
        .arg(scripts.join("database.sql"))
        .stdin(Stdio::null())
        .shown()
        .output()
        .context("psql cannot be started")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("the database's roles cannot be made: {}", error.trim());
    }
    Ok(())
}

/// Sets the superuser's password to the one in `secrets/` while the server is down: it then runs
/// for one statement, without a port and without a log-in. Of no use to anybody who may not read
/// the data folder anyway.
pub(crate) fn reset_superuser(cluster: &Cluster, project: &Project) -> Result<()> {
    let password = secrets::read(project, "postgres_superuser_password")?;
    let mut single = process::command(&cluster.postgres.program("postgres"), cluster.account);
    let mut server = single
        .args(["--single", "-c", "log_min_error_statement=panic", "-D"])
        .arg(cluster.data)
        .arg("postgres")
        .current_dir(cluster.data)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .shown()
        .spawn()
        .context("postgres cannot be started")?;
    // A line is a statement; the end of the input ends the server.
    let statement = format!(
        "ALTER ROLE postgres PASSWORD '{}'\n",
        password.replace('\'', "''")
    );
    if let Some(mut stdin) = server.stdin.take() {
        stdin.write_all(statement.as_bytes())?;
    }
    let output = server.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("ERROR:") {
        bail!("the superuser's password cannot be set: {}", said.trim());
    }
    Ok(())
}

/// A client program that finds the password in its file: neither an argument nor a variable holds it.
pub(crate) fn client(
    place: &Place,
    postgres: &Postgres,
    port: u16,
    program: &str,
    role: &str,
) -> Command {
    let mut client = Command::new(postgres.program(program));
    client
        .env("PGPASSFILE", place.passwords())
        .env_remove("PGPASSWORD")
        .args(["-w", "-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-U", role]);
    client
}
