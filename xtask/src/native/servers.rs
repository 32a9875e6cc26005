//! The Postgres and Redis programs of this machine: where they are, and how to get them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages;

/// The oldest Postgres that the migrations are written for.
const POSTGRES_FLOOR: u32 = 14;

/// The oldest Redis with what the queue uses (ACL selectors, XAUTOCLAIM's deleted ids).
const REDIS_FLOOR: u32 = 7;

/// Programs that a Postgres folder must hold.
const POSTGRES_PROGRAMS: [&str; 4] = ["postgres", "initdb", "psql", "pg_isready"];

/// Folders that distributions and Homebrew put a Postgres into, with `*` for any text.
const POSTGRES_PLACES: [&str; 6] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
];

/// A Postgres on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    /// The folder of its programs.
    pub(crate) bin: PathBuf,
    /// The major version: 17.
    pub(crate) major: u32,
}

impl Postgres {
    /// The path of one of its programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// A Redis (or Valkey) on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Redis {
    /// `redis-server` or `valkey-server`.
    pub(crate) server: PathBuf,
    /// The major version: 7.
    pub(crate) major: u32,
}

impl Redis {
    /// The prompt that came with it.
    pub(crate) fn cli(&self) -> PathBuf {
        let name = self
            .server
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .replace("-server", "-cli");
        self.server.with_file_name(name)
    }
}

/// Both servers, installed first where they are missing (see [`packages`]).
///
/// # Errors
/// When a server is missing and may not or cannot be installed; the sentence says what to run.
pub(crate) fn ensure(yes: bool, with_redis: bool) -> Result<(Postgres, Option<Redis>)> {
    let missing = |postgres: &Option<Postgres>, redis: &Option<Redis>| {
        let mut missing = Vec::new();
        if postgres.is_none() {
            missing.push(packages::Server::Postgres);
        }
        if with_redis && redis.is_none() {
            missing.push(packages::Server::Redis);
        }
        missing
    };
    let (mut postgres, mut redis) = (postgres(None), redis());
    let needed = missing(&postgres, &redis);
    if !needed.is_empty() {
        packages::install(&needed, yes)?;
        (postgres, redis) = (self::postgres(None), self::redis());
    }
    match postgres {
        Some(postgres) if redis.is_some() || !with_redis => Ok((postgres, redis)),
        postgres => bail!(
            "still missing after the installation: {}. This project needs Postgres {POSTGRES_FLOOR} \
             and Redis {REDIS_FLOOR} or newer",
            packages::names(&missing(&postgres, &redis))
        ),
    }
}

/// The newest Postgres here, or the one of this major version.
pub(crate) fn postgres(major: Option<u32>) -> Option<Postgres> {
    let places = POSTGRES_PLACES.iter().flat_map(|pattern| expand(pattern));
    // Resolved, because distributions link single programs into PATH and leave the others behind.
    let from_path = path_folders().into_iter().filter_map(|folder| {
        let program = folder.join("postgres").canonicalize().ok()?;
        program.parent().map(Path::to_path_buf)
    });
    places
        .chain(from_path)
        .filter(|bin| {
            POSTGRES_PROGRAMS
                .iter()
                .all(|name| bin.join(name).is_file())
        })
        .filter_map(|bin| {
            Some(Postgres {
                major: version(&bin.join("postgres"))?,
                bin,
            })
        })
        .filter(|found| {
            found.major >= POSTGRES_FLOOR && major.is_none_or(|major| found.major == major)
        })
        .max_by_key(|found| found.major)
}

/// A Redis that is new enough, else a Valkey (whose versions all are).
pub(crate) fn redis() -> Option<Redis> {
    let extra = [
        "/usr/bin",
        "/usr/sbin",
        "/usr/local/bin",
        "/opt/homebrew/bin",
    ]
    .map(PathBuf::from);
    let folders: Vec<PathBuf> = path_folders().into_iter().chain(extra).collect();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .filter(|server| server.is_file())
        .filter_map(|server| {
            Some(Redis {
                major: version(&server)?,
                server,
            })
        })
        .find(|redis| redis.major >= REDIS_FLOOR)
}

/// The folders of PATH.
#[expect(
    clippy::disallowed_methods,
    reason = "PATH is the system's, not a setting"
)]
pub(super) fn path_folders() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}

/// PATH with this folder in front.
pub(crate) fn path_after(first: &Path) -> Result<OsString> {
    let folders = std::iter::once(first.to_path_buf()).chain(path_folders());
    std::env::join_paths(folders).context("a folder of PATH has a ':' in its name")
}

fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    major_version(&String::from_utf8_lossy(&output.stdout))
}

/// `postgres (PostgreSQL) 17.5 (Debian ..)` and `Redis server v=7.0.15 sha=..` alike.
fn major_version(text: &str) -> Option<u32> {
    let number = text.split_whitespace().find_map(|word| {
        let word = word.strip_prefix("v=").unwrap_or(word);
        word.starts_with(|c: char| c.is_ascii_digit())
            .then_some(word)
    })?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The folders that match a path with at most one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (folder, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| PathBuf::from(format!("{}{after}", entry.path().display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 17.5 (Debian 17.5-1.pgdg13+1)\n"),
            Some(17)
        );
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(
            major_version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"),
            Some(7)
        );
        assert_eq!(major_version("Valkey server v=8.0.1 sha=0"), Some(8));
        assert_eq!(major_version("no such thing"), None);
    }

    #[test]
    fn the_star_stands_for_any_text() {
        let found = expand("/proc/se*/fd");
        assert!(
            !cfg!(target_os = "linux") || found.contains(&PathBuf::from("/proc/self/fd")),
            "{found:?}"
        );
        assert_eq!(expand("/nowhere/*/bin"), Vec::<PathBuf>::new());
    }
}
