//! `cargo xtask db prepare`: `.sqlx/`, the offline data that the SQL macros check against.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo;
use crate::interrupt;
use crate::native::throw_away::ThrowAway;
use crate::native::{build, inherited};
use crate::project::Project;
use crate::secrets;
use crate::terminal;
use crate::verbose::Shown as _;

/// The macros whose statements are described in `.sqlx/`.
const MACROS: [&str; 3] = ["query!(", "query_as!(", "query_scalar!("];

/// File name to text.
type Descriptions = BTreeMap<String, String>;

/// Writes `.sqlx/` anew from the SQL in the code, and removes what no statement needs any more.
pub(crate) fn run(project: &Project) -> Result<()> {
    let fresh = describe(project)?;
    let folder = project.root().join(".sqlx");
    fs::create_dir_all(&folder)?;
    let before = read(&folder)?;
    for (name, text) in &fresh {
        if before.get(name) != Some(text) {
            fs::write(folder.join(name), text)?;
        }
    }
    let stale: Vec<&String> = before
        .keys()
        .filter(|name| !fresh.contains_key(*name))
        .collect();
    for name in &stale {
        fs::remove_file(folder.join(name))?;
    }
    let added = fresh
        .keys()
        .filter(|name| !before.contains_key(*name))
        .count();
    terminal::note(&format!(
        ".sqlx/ describes {} statements ({added} new, {} removed)",
        fresh.len(),
        stale.len()
    ));
    Ok(())
}

/// Whether `.sqlx/` is what [`run`] would write.
pub(crate) fn check(project: &Project) -> Result<()> {
    let (fresh, here) = (describe(project)?, read(&project.root().join(".sqlx"))?);
    let differs = |name: &&String| fresh.get(*name) != here.get(*name);
    let mut names: Vec<&String> = fresh.keys().chain(here.keys()).filter(differs).collect();
    names.dedup();
    match names.first() {
        None => Ok(()),
        Some(first) => bail!(
            ".sqlx/ is stale: {} differ, {first} among them\n  next: `cargo xtask db prepare`, and commit .sqlx/",
            names.len()
        ),
    }
}

/// What can be said in a moment, without a database: statements that have no description, and
/// descriptions that no statement needs. None when nothing is wrong.
pub(crate) fn stale_at_a_glance(project: &Project) -> Result<Option<String>> {
    let sources: String = crates_with_sql(project)?
        .iter()
        .map(|folder| source_text(&folder.join("src")))
        .collect();
    let described = read(&project.root().join(".sqlx"))?;
    let statements: usize = MACROS
        .iter()
        .map(|name| sources.matches(name).count())
        .sum();
    // Layout and the backslash that joins lines of a literal are no part of the statement.
    let squeeze = |text: &str| {
        text.chars()
            .filter(|c| !c.is_whitespace() && *c != '\\')
            .collect::<String>()
    };
    let squeezed = squeeze(&sources);
    let queries: BTreeSet<String> = described
        .values()
        .filter_map(|text| serde_json::from_str::<Value>(text).ok())
        .filter_map(|description| Some(squeeze(description["query"].as_str()?)))
        .collect();
    let used = queries.iter().filter(|query| squeezed.contains(*query));
    let (used, files) = (used.count(), described.len());
    if used == statements && used == files {
        return Ok(None);
    }
    Ok(Some(format!(
        "{statements} statements in the code, {used} of them described, in {files} files"
    )))
}

/// Describes every statement against a database of its own with all migrations applied.
fn describe(project: &Project) -> Result<Descriptions> {
    let crates = crates_with_sql(project)?;
    let binaries = build(project, &["migrations"])?;
    let servers = ThrowAway::start(project, false, None)?;
    migrate(
        project,
        binaries
            .get("migrate")
            .context("cargo built no `migrate`")?,
        &servers.database_url,
    )?;

    let folder = project
        .state_dir()
        .join(format!("sqlx-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let guarded = folder.clone();
    let _guard = interrupt::guard(move || {
        // Gone already, if it came so far.
        let _ = fs::remove_dir_all(guarded);
    });
    let mut cargo = cargo::command(project);
    cargo.args(["check", "--quiet"]);
    for path in &crates {
        cargo.arg("-p").arg(path.file_name().unwrap_or_default());
        // The macros write only when they run, and cargo would find nothing to compile.
        File::options()
            .append(true)
            .open(path.join("src/lib.rs"))?
            .set_modified(SystemTime::now())?;
    }
    cargo
        .env("DATABASE_URL", &servers.database_url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", &folder);
    let status = interrupt::status(&mut cargo);
    drop(servers);
    let described = read(&folder);
    fs::remove_dir_all(&folder)?;
    if !status.context("cargo cannot be started")?.success() {
        bail!("a statement does not fit the schema; the compiler says which above");
    }
    described
}

/// As the superuser of a server that lets everybody in: the password is only there to be set.
fn migrate(project: &Project, program: &Path, database_url: &str) -> Result<()> {
    let port = database_url
        .rsplit_once(':')
        .and_then(|(_, rest)| rest.split('/').next())
        .unwrap_or_default();
    let status = Command::new(program)
        .arg("run")
        .env_clear()
        .envs(inherited())
        .envs([("DATABASE_HOST", "127.0.0.1"), ("DATABASE_PORT", port)])
        .envs([
            ("DATABASE_NAME", "postgres"),
            ("DATABASE_USER", "postgres"),
            ("LOG_LEVEL", "warn"),
        ])
        .env("DATABASE_PASSWORD", secrets::word()?)
        .current_dir(project.root())
        .stdout(std::io::stderr())
        .shown()
        .status()
        .context("migrate cannot be started")?;
    if !status.success() {
        bail!("the migrations cannot be applied to an empty database");
    }
    Ok(())
}

/// Folders of the workspace's crates that use one of the macros.
fn crates_with_sql(project: &Project) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(project.root())? {
        let folder = entry?.path();
        // This file names the macros too, but is no such crate.
        let is_crate = folder.join("src/lib.rs").is_file() && folder.join("Cargo.toml").is_file();
        if is_crate
            && MACROS
                .iter()
                .any(|name| source_text(&folder.join("src")).contains(name))
        {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

/// All Rust files below a folder, one after another.
fn source_text(folder: &Path) -> String {
    let Ok(entries) = fs::read_dir(folder) else {
        return String::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let text_of = |path: &PathBuf| {
        if path.is_dir() {
            source_text(path)
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            fs::read_to_string(path).unwrap_or_default()
        } else {
            String::new()
        }
    };
    paths.iter().map(text_of).collect()
}

fn read(folder: &Path) -> Result<Descriptions> {
    let mut descriptions = Descriptions::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(descriptions);
    };
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("query-") && name.ends_with(".json") {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            descriptions.insert(name, text);
        }
    }
    Ok(descriptions)
}
