//! `cargo xtask db verify`: whether a backup can be restored, proven by doing it.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::archive::Archive;
use super::census::{self, Census};
use super::scratch::Scratch;
use super::{lock, running};
use crate::project::Project;
use crate::terminal::{self, GREEN, RED};

/// Restore a backup beside the database, and compare the rows of every table
///
/// With what was counted when the backup was taken, so that nothing has to stand still meanwhile.
/// The copy is dropped at the end, also after Ctrl-C. Exits with 1 when a table differs.
#[derive(Args)]
pub(crate) struct Verify {
    /// A file of `db backup`; the newest one without it
    #[arg(default_value = "latest")]
    file: String,
    /// For machines: {"file", "migration", "tables": [{"table", "counted", "restored"}], "different"}
    #[arg(long)]
    json: bool,
}

/// Prints a table: each of the backup's, with its rows then and now.
pub(super) fn run(project: &Project, args: &Verify) -> Result<()> {
    let stack = running(project)?;
    let _lock = lock(project)?;
    let archive = Archive::find(project, &args.file)?;
    archive.check(stack.as_ref())?;
    let scratch = Scratch::make(project, stack.as_ref(), "verified")?;
    scratch.fill(&archive)?;
    let restored = census::take(stack.as_ref(), &scratch.name)?;
    if args.json {
        terminal::print(&document(&archive, &restored).to_string());
    }
    let Some(counted) = &archive.census else {
        if !args.json {
            terminal::print(&format!(
                "{}: restored whole, {} rows of {} tables",
                archive.name(),
                restored.rows(),
                restored.tables.len()
            ));
        }
        terminal::warn("nothing was written down beside it, so there is nothing to compare with");
        return Ok(());
    };
    if !args.json {
        terminal::print(&table(counted, &restored));
    }
    let different = differences(counted, &restored);
    if !different.is_empty() {
        bail!(
            "{} differs from what was counted when it was taken: {}\n  \
             next: `cargo xtask db backup` makes another one",
            archive.path.display(),
            different.join(", ")
        );
    }
    terminal::note(&format!(
        "{} {} holds what was counted when it was taken",
        terminal::mark(GREEN, "ok"),
        archive.name()
    ));
    Ok(())
}

/// The tables of both.
fn tables<'a>(counted: &'a Census, restored: &'a Census) -> BTreeSet<&'a String> {
    counted
        .tables
        .keys()
        .chain(restored.tables.keys())
        .collect()
}

/// The tables that have other rows than they had, and the schema if that is another one.
pub(super) fn differences(counted: &Census, restored: &Census) -> Vec<String> {
    let differs = |table: &&String| counted.tables.get(*table) != restored.tables.get(*table);
    let mut different: Vec<String> = tables(counted, restored)
        .into_iter()
        .filter(differs)
        .cloned()
        .collect();
    if counted.migration != restored.migration {
        different.push("the schema's version".to_owned());
    }
    different
}

/// The document of `--json`. `different` is null, as each `counted` is, where nothing was written down
/// beside the backup.
fn document(archive: &Archive, restored: &Census) -> Value {
    let counted = archive.census.as_ref();
    let tables: Vec<Value> = tables(counted.unwrap_or(restored), restored)
        .into_iter()
        .map(|table| {
            let before = counted.and_then(|census| census.tables.get(table));
            json!({ "table": table, "counted": before, "restored": restored.tables.get(table) })
        })
        .collect();
    json!({
        "file": archive.path,
        "migration": restored.migration,
        "tables": tables,
        "different": counted.map(|counted| differences(counted, restored)),
    })
}

fn table(counted: &Census, restored: &Census) -> String {
    let rows = |census: &Census, table: &String| {
        let rows = census.tables.get(table);
        rows.map_or_else(|| "no table".to_owned(), u64::to_string)
    };
    let lines: Vec<_> = tables(counted, restored)
        .into_iter()
        .map(|table| {
            let (then, now) = (rows(counted, table), rows(restored, table));
            let (word, style) = if then == now {
                ("same", GREEN)
            } else {
                ("differs", RED)
            };
            vec![
                (table.clone(), None),
                (then, None),
                (now, None),
                (word.to_owned(), Some(style)),
            ]
        })
        .collect();
    terminal::table(&["table", "in the backup", "restored", ""], &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(tables: &[(&str, u64)], migration: u64) -> Census {
        Census {
            tables: tables
                .iter()
                .map(|&(table, rows)| (table.to_owned(), rows))
                .collect(),
            migration: Some(migration),
            ..Census::default()
        }
    }

    #[test]
    fn the_document_has_the_promised_shape() {
        let mut archive = Archive {
            path: "shop.dump".into(),
            bytes: 1,
            census: Some(census(&[("accounts", 3)], 7)),
        };
        let restored = census(&[("accounts", 2)], 7);
        assert_eq!(
            document(&archive, &restored),
            json!({
                "file": "shop.dump",
                "migration": 7,
                "tables": [{"table": "accounts", "counted": 3, "restored": 2}],
                "different": ["accounts"],
            })
        );
        archive.census = None;
        let document = document(&archive, &restored);
        assert_eq!(document["different"], Value::Null);
        assert_eq!(document["tables"][0]["counted"], Value::Null);
    }

    #[test]
    fn rows_tables_and_schema_are_compared() {
        let counted = census(&[("accounts", 3), ("gone", 0), ("same", 1)], 7);
        let restored = census(&[("accounts", 2), ("new", 1), ("same", 1)], 8);
        assert_eq!(
            differences(&counted, &restored),
            ["accounts", "gone", "new", "the schema's version"]
        );
        assert!(differences(&counted, &counted).is_empty());
        let table = table(&counted, &restored);
        assert!(
            table.contains("gone       0               no table   differs"),
            "{table}"
        );
    }
}
