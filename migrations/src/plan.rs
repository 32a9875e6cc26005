//! What stands between the files and a database: the states of `status`, the findings of `check`.
//!
//! Pure: both sides are passed in.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::migrate::{Migration, MigrationType};
use time::OffsetDateTime;

use crate::ledger::Applied;

/// One migration as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The timestamp at the start of the file's name.
    pub version: i64,
    /// The rest of the file's name, with spaces.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// When it was applied.
    #[serde(with = "time::serde::rfc3339::option")]
    pub applied_at: Option<OffsetDateTime>,
}

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In the files, not in the database.
    Pending,
    /// In both and equal.
    Applied,
    /// In both, and the file was edited since.
    Edited,
    /// In the database only: a newer release has been here, or a file was deleted.
    Unknown,
}

/// Something `check` found. Its `Display` says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The file's text is not what was applied.
    #[error(
        "{version} {name}: edited after it was applied; restore the file and write a new migration"
    )]
    Edited {
        /// The file's version.
        version: i64,
        /// The file's name.
        name: String,
    },
    /// A pending migration is older than one that is applied.
    #[error(
        "{version} {name}: pending, but the newer {newest} is applied; rename both files to a \
         timestamp of now"
    )]
    OutOfOrder {
        /// The file's version.
        version: i64,
        /// The file's name.
        name: String,
        /// The newest applied version.
        newest: i64,
    },
    /// The file has Windows line ends, which change its checksum.
    #[error("{version} {name}: has CRLF line ends; save it with LF")]
    CarriageReturn {
        /// The file's version.
        version: i64,
        /// The file's name.
        name: String,
    },
    /// There is no way back.
    #[error("{version} {name}: has no .down.sql; write the file that undoes it")]
    NoDown {
        /// The file's version.
        version: i64,
        /// The file's name.
        name: String,
    },
    /// A down file without its up file.
    #[error("{version} {name}: has a .down.sql but no .up.sql")]
    NoUp {
        /// The file's version.
        version: i64,
        /// The file's name.
        name: String,
    },
    /// The database knows a migration that these files do not.
    #[error(
        "{version} {name}: applied to the database but not among the files; a newer release has \
         been here, or the file was deleted"
    )]
    Unknown {
        /// The applied version.
        version: i64,
        /// The name it was applied under.
        name: String,
    },
}

/// Every migration of either side with its state, oldest first.
pub fn lines(files: &[Migration], applied: &[Applied]) -> Vec<Line> {
    let mut lines: BTreeMap<i64, Line> = applied
        .iter()
        .map(|row| {
            let line = Line {
                version: row.version,
                name: row.description.clone(),
                state: State::Unknown,
                applied_at: Some(row.installed_on),
            };
            (row.version, line)
        })
        .collect();
    for file in ups(files) {
        let row = applied.iter().find(|row| row.version == file.version);
        let line = Line {
            version: file.version,
            name: file.description.to_string(),
            state: match row {
                None => State::Pending,
                Some(row) if row.checksum == *file.checksum => State::Applied,
                Some(_) => State::Edited,
            },
            applied_at: row.map(|row| row.installed_on),
        };
        lines.insert(file.version, line);
    }
    lines.into_values().collect()
}

/// What is wrong, oldest first; empty when all is well.
pub fn findings(files: &[Migration], applied: &[Applied]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let (version, name) = (file.version, file.description.to_string());
        if file.sql.as_str().contains('\r') {
            findings.push(Finding::CarriageReturn {
                version,
                name: name.clone(),
            });
        }
        match file.migration_type {
            MigrationType::Simple => findings.push(Finding::NoDown { version, name }),
            MigrationType::ReversibleUp if !has(files, version, MigrationType::ReversibleDown) => {
                findings.push(Finding::NoDown { version, name });
            }
            MigrationType::ReversibleDown if !has(files, version, MigrationType::ReversibleUp) => {
                findings.push(Finding::NoUp { version, name });
            }
            MigrationType::ReversibleUp | MigrationType::ReversibleDown => {}
        }
    }
    let newest = applied.iter().map(|row| row.version).max().unwrap_or(0);
    for Line {
        version,
        name,
        state,
        ..
    } in lines(files, applied)
    {
        match state {
            State::Edited => findings.push(Finding::Edited { version, name }),
            State::Unknown => findings.push(Finding::Unknown { version, name }),
            State::Pending if version < newest => {
                findings.push(Finding::OutOfOrder {
                    version,
                    name,
                    newest,
                });
            }
            State::Pending | State::Applied => {}
        }
    }
    findings
}

/// The files that move the schema forward, oldest first.
pub fn ups(files: &[Migration]) -> impl Iterator<Item = &Migration> {
    files
        .iter()
        .filter(|file| file.migration_type.is_up_migration())
}

fn has(files: &[Migration], version: i64, kind: MigrationType) -> bool {
    files
        .iter()
        .any(|file| file.version == version && file.migration_type == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: i64, kind: MigrationType, sql: &'static str) -> Migration {
        use sqlx::SqlSafeStr as _;
        Migration::new(version, "name".into(), kind, sql.into_sql_str(), false)
    }

    fn pair(version: i64) -> [Migration; 2] {
        [
            file(version, MigrationType::ReversibleUp, "SELECT 1;\n"),
            file(version, MigrationType::ReversibleDown, "SELECT 2;\n"),
        ]
    }

    fn row(file: &Migration) -> Applied {
        Applied {
            version: file.version,
            description: file.description.to_string(),
            installed_on: OffsetDateTime::UNIX_EPOCH,
            checksum: file.checksum.to_vec(),
            execution_time: 1,
        }
    }

    #[test]
    fn finds_nothing_wrong_with_a_clean_pair() {
        let files = pair(1);
        assert_eq!(findings(&files, &[]), []);
        assert_eq!(findings(&files, &[row(&files[0])]), []);
    }

    #[test]
    fn finds_an_edited_file() {
        let files = pair(1);
        let mut applied = row(&files[0]);
        applied.checksum[0] ^= 1;
        let found = findings(&files, &[applied]);
        assert_eq!(
            found,
            [Finding::Edited {
                version: 1,
                name: "name".into()
            }]
        );
    }

    #[test]
    fn finds_a_pending_file_older_than_an_applied_one() {
        let files = [pair(1), pair(2)].concat();
        let found = findings(&files, &[row(&files[2])]);
        let expected = Finding::OutOfOrder {
            version: 1,
            name: "name".into(),
            newest: 2,
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn finds_carriage_returns_and_missing_halves() {
        let files = [
            file(1, MigrationType::ReversibleUp, "SELECT 1;\r\n"),
            file(2, MigrationType::ReversibleDown, "SELECT 1;\n"),
            file(3, MigrationType::Simple, "SELECT 1;\n"),
        ];
        let name = || "name".to_owned();
        assert_eq!(
            findings(&files, &[]),
            [
                Finding::CarriageReturn {
                    version: 1,
                    name: name()
                },
                Finding::NoDown {
                    version: 1,
                    name: name()
                },
                Finding::NoUp {
                    version: 2,
                    name: name()
                },
                Finding::NoDown {
                    version: 3,
                    name: name()
                },
            ]
        );
    }

    #[test]
    fn finds_what_only_the_database_knows() {
        let files = pair(1);
        let gone = row(&pair(2)[0]);
        let found = findings(&files, &[row(&files[0]), gone]);
        assert_eq!(
            found,
            [Finding::Unknown {
                version: 2,
                name: "name".into()
            }]
        );
    }

    #[test]
    fn every_sql_file_of_the_folder_is_compiled_in_and_named_right() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect::<Vec<_>>();
        for name in &files {
            assert!(
                name.ends_with(".up.sql") || name.ends_with(".down.sql"),
                "{name}: end it in .up.sql or .down.sql"
            );
        }
        assert_eq!(files.len(), crate::MIGRATOR.iter().count());
        assert_eq!(findings(&crate::MIGRATOR.migrations, &[]), []);
    }
}
