//! A dump's file, and what is written down beside it.
//!
//! `NAME.dump` is what `pg_dump --format=custom` writes, and any `pg_restore` reads it.
//! `NAME.dump.json` says what was in the database when it was taken: that is what a restored copy
//! is compared with. It is there before the dump has its name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::census::Census;
use super::{OWNER, finish, listen};
use crate::project::{Project, write_whole};
use crate::stack::Stack;
use crate::verbose::Shown as _;

/// The folder that `db backup` writes to and `db backups` lists.
pub(super) fn folder(project: &Project) -> PathBuf {
    project.state_dir().join("backups")
}

/// A dump that is there.
#[derive(Debug, Clone)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// None when nothing is written down beside it, as beside a dump from elsewhere.
    pub(super) census: Option<Census>,
}

impl Archive {
    /// The dump of this name: `latest` is the newest in the folder, a bare file name may be in it.
    ///
    /// # Errors
    /// When there is none, or when it is shorter or longer than it was.
    pub(super) fn find(project: &Project, name: &str) -> Result<Self> {
        if name == "latest" {
            return all(project)?.into_iter().next().with_context(|| {
                format!(
                    "there is no backup in {}\n  next: `cargo xtask db backup` makes one",
                    folder(project).display()
                )
            });
        }
        let given = Path::new(name);
        let path = [given.to_path_buf(), folder(project).join(given)]
            .into_iter()
            .find(|path| path.is_file())
            .with_context(|| {
                format!(
                    "there is no file {name}, here or in {}\n  \
                     next: `cargo xtask db backups` lists those that are there",
                    folder(project).display()
                )
            })?;
        let archive = Self::read(path)?;
        let described = fs::read_to_string(beside(&archive.path)).ok();
        if described.is_some() && archive.census.is_none() {
            bail!(
                "{} cannot be read, so nobody knows what the backup had\n  \
                 next: take another one, `cargo xtask db backups` lists them; or remove that file, \
                 and it is restored uncompared",
                beside(&archive.path).display()
            );
        }
        let described = described.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        if let Some(length) = described.and_then(|described| described["bytes"].as_u64())
            && length != archive.bytes
        {
            bail!(
                "{} is damaged: it has {} bytes and had {length}\n  \
                 next: take another one, `cargo xtask db backups` lists them",
                archive.path.display(),
                archive.bytes
            );
        }
        Ok(archive)
    }

    fn read(path: PathBuf) -> Result<Self> {
        let bytes = fs::metadata(&path)?.len();
        let described = fs::read_to_string(beside(&path)).ok();
        let census = described
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .and_then(|described| of_json(&described));
        Ok(Self {
            path,
            bytes,
            census,
        })
    }

    /// Whether it is a dump, before anything is made for it.
    pub(super) fn check(&self, stack: &dyn Stack) -> Result<()> {
        check(stack, &self.path).map_err(|error| {
            anyhow!(
                "{} is no dump that can be restored: {error}; nothing was changed\n  \
                 next: take another one, `cargo xtask db backups` lists them",
                self.path.display()
            )
        })
    }

    /// Its name without the folder.
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The schema's version in it, as people read it.
    pub(super) fn migration(&self) -> String {
        match &self.census {
            Some(census) => census
                .migration
                .map_or_else(|| "none".to_owned(), |version| version.to_string()),
            None => "not known".to_owned(),
        }
    }
}

/// The dumps in the folder, newest first.
pub(super) fn all(project: &Project) -> Result<Vec<Archive>> {
    let Ok(entries) = fs::read_dir(folder(project)) else {
        return Ok(Vec::new());
    };
    let mut archives = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "dump")
        {
            archives.push(Archive::read(path)?);
        }
    }
    // Two within a second have the same name with a number behind it, and the longer is the later:
    // `shop-20261130-235959`, `-2`, `-10`.
    let key = |archive: &Archive| {
        let taken_at = archive
            .census
            .as_ref()
            .map(|census| census.taken_at.clone());
        (taken_at, archive.name().len(), archive.name())
    };
    archives.sort_by_key(|archive| std::cmp::Reverse(key(archive)));
    Ok(archives)
}

/// The file that says what is in a dump.
pub(super) fn beside(dump: &Path) -> PathBuf {
    let mut name = dump.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// Whether a dump's list of contents can be read to its end.
///
/// # Errors
/// With what `pg_restore` says.
pub(super) fn check(stack: &dyn Stack, dump: &Path) -> Result<()> {
    let mut list = stack
        .postgres_client("pg_restore", OWNER)?
        .arg("--list")
        .stdin(File::open(dump)?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .shown()
        .spawn()
        .context("pg_restore cannot be started")?;
    let said = listen(&mut list);
    finish(list, said, "pg_restore")
}

/// Writes down what is in a dump of this length.
pub(super) fn describe(project: &Project, dump: &Path, bytes: u64, census: &Census) -> Result<()> {
    let document = json!({
        "project": project.name(),
        "taken_at": census.taken_at,
        "bytes": bytes,
        "migration": census.migration,
        "tables": census.tables,
    });
    let path = beside(dump);
    write_whole(&path, &format!("{document:#}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    // On the disk before the dump has its name, as the dump itself is.
    File::open(&path)?.sync_all()?;
    Ok(())
}

fn of_json(described: &Value) -> Option<Census> {
    let tables = described["tables"].as_object()?.iter();
    let tables: BTreeMap<String, u64> = tables
        .map(|(table, rows)| Some((table.clone(), rows.as_u64()?)))
        .collect::<Option<_>>()?;
    Some(Census {
        tables,
        migration: described["migration"].as_u64(),
        taken_at: described["taken_at"].as_str()?.to_owned(),
        ..Census::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_within_a_second_the_later_is_the_newer() {
        let root = std::env::temp_dir().join(format!("slipway-archives-{}", std::process::id()));
        let backups = root.join(".slipway/backups");
        fs::create_dir_all(&backups).unwrap();
        let project = Project::at(&root).unwrap();
        let census = Census {
            taken_at: "2026-11-30 23:59:59".to_owned(),
            ..Census::default()
        };
        let names = ["", "-2", "-9", "-10"].map(|end| format!("shop-20261130-235959{end}.dump"));
        for name in &names {
            fs::write(backups.join(name), "1234").unwrap();
            describe(&project, &backups.join(name), 4, &census).unwrap();
            let latest = Archive::find(&project, "latest").unwrap();
            assert_eq!(latest.name(), *name);
        }
        let listed = all(&project).unwrap();
        let listed: Vec<String> = listed.iter().rev().map(Archive::name).collect();
        assert_eq!(listed, names);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_written_down_is_what_is_compared() {
        let root = std::env::temp_dir().join(format!("slipway-archive-{}", std::process::id()));
        let project_folder = root.join(".slipway/backups");
        fs::create_dir_all(&project_folder).unwrap();
        let project = Project::at(&root).unwrap();
        let census = |taken_at: &str| Census {
            tables: BTreeMap::from([("accounts".to_owned(), 3)]),
            migration: Some(7),
            taken_at: taken_at.to_owned(),
            ..Census::default()
        };
        for (name, taken_at) in [
            ("old", "2026-11-30 09:00:00"),
            ("new", "2026-11-30 10:00:00"),
        ] {
            let dump = project_folder.join(format!("{name}.dump"));
            fs::write(&dump, "1234").unwrap();
            describe(&project, &dump, 4, &census(taken_at)).unwrap();
        }
        fs::write(project_folder.join("from-elsewhere.dump"), "12").unwrap();
        fs::write(project_folder.join("half.dump.7.partial"), "1").unwrap();

        let names: Vec<String> = all(&project).unwrap().iter().map(Archive::name).collect();
        assert_eq!(names, ["new.dump", "old.dump", "from-elsewhere.dump"]);
        let latest = Archive::find(&project, "latest").unwrap();
        assert_eq!(latest.census, Some(census("2026-11-30 10:00:00")));
        let stranger = Archive::find(&project, "from-elsewhere.dump").unwrap();
        assert_eq!(stranger.migration(), "not known");

        fs::write(project_folder.join("old.dump"), "123").unwrap();
        let error = Archive::find(&project, "old.dump").unwrap_err().to_string();
        assert!(error.contains("has 3 bytes and had 4"), "{error}");
        fs::write(project_folder.join("new.dump.json"), "{").unwrap();
        let error = Archive::find(&project, "new.dump").unwrap_err().to_string();
        assert!(error.contains("new.dump.json cannot be read"), "{error}");
        let error = Archive::find(&project, "nowhere").unwrap_err().to_string();
        assert!(error.contains("db backups"), "{error}");
        fs::remove_dir_all(root).unwrap();
    }
}
