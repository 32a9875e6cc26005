//! Who runs Postgres, and where its data lies: it refuses to run as root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Native;
use crate::project::Project;
use crate::terminal;

/// An unprivileged user of this machine, by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
}

impl Account {
    /// Makes the account the owner of a file or folder.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("{} cannot be given to user {}", path.display(), self.uid))
    }

    /// Whether the account can get into the folder.
    fn reaches(self, folder: &Path) -> bool {
        // The child changes its user first and its folder then, so that the system itself answers.
        let mut probe = super::process::command(Path::new("true"), Some(self));
        probe
            .current_dir(folder)
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// The account that Postgres runs under: none as an ordinary user (it runs as that user), and as
/// root `postgres`, which the packages make, else one that is made now.
pub(crate) fn for_postgres() -> Result<Option<Account>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    if let Some(account) = look_up("postgres") {
        return Ok(Some(account));
    }
    terminal::note("making the system user `postgres`: Postgres does not run as root");
    let made = Command::new("useradd")
        .args([
            "--system",
            "--user-group",
            "--shell",
            "/bin/false",
            "postgres",
        ])
        .status();
    match look_up("postgres") {
        Some(account) if made.is_ok_and(|status| status.success()) => Ok(Some(account)),
        _ => bail!(
            "Postgres does not run as root, and there is no user `postgres` and none could be made"
        ),
    }
}

fn look_up(name: &str) -> Option<Account> {
    let id = |flag| {
        let output = Command::new("id").args([flag, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some(Account {
        uid: id("-u")?,
        gid: id("-g")?,
    })
}

/// The folder for Postgres's data, chosen at the first `up` and remembered: data must not move.
///
/// `.slipway/data/postgres`, unless the account cannot get there (a checkout below `/root`).
pub(crate) fn postgres_data(project: &Project, account: Option<Account>) -> Result<PathBuf> {
    if let Some(data) = chosen_postgres_data(project) {
        return Ok(data);
    }
    let inside = project.state_dir().join("data");
    fs::create_dir_all(&inside)?;
    let parent = match account {
        Some(account) if !account.reaches(&inside) => {
            let outside = PathBuf::from("/var/lib").join(project.name());
            fs::create_dir_all(&outside)
                .with_context(|| format!("{} cannot be made", outside.display()))?;
            if !account.reaches(&outside) {
                bail!("the user `postgres` cannot get into {}", outside.display());
            }
            terminal::note(&format!(
                "Postgres's data goes to {}: its user cannot get in here",
                outside.display()
            ));
            outside
        }
        _ => inside,
    };
    let data = parent.join("postgres");
    project.remember("postgres_data", json!(data))?;
    Ok(data)
}

/// The folder of [`postgres_data`], if an earlier `up` has chosen one.
pub(crate) fn chosen_postgres_data(project: &Project) -> Option<PathBuf> {
    Some(PathBuf::from(project.recall("postgres_data")?.as_str()?))
}

impl Native<'_> {
    /// Removes the data of Postgres and Redis, and the mails.
    pub(super) fn remove_data(&self) -> Result<()> {
        let mut folders = vec![
            self.project.state_dir().join("data"),
            self.project.state_dir().join("mail"),
        ];
        folders.extend(chosen_postgres_data(self.project));
        for folder in folders.iter().filter(|folder| folder.exists()) {
            fs::remove_dir_all(folder)
                .with_context(|| format!("{} cannot be removed", folder.display()))?;
            terminal::note(&format!("removed {}", folder.display()));
        }
        if let Some(parent) = chosen_postgres_data(self.project)
            .as_deref()
            .and_then(Path::parent)
        {
            // Ours alone, and empty now; inside of the checkout it is gone already.
            let _ = fs::remove_dir(parent);
        }
        self.project.remember("postgres_data", Value::Null)
    }
}

/// Makes an empty folder that only the account (or we) can read.
pub(crate) fn private_folder(path: &Path, account: Option<Account>) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    account.map_or(Ok(()), |account| account.own(path))
}
