//! The rows of every table, counted in one snapshot.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Child;

use anyhow::{Context, Result, bail};

use super::{OWNER, finish, listen};
use crate::stack::Stack;

/// What a database holds, as one transaction sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// Table, with its schema where that is not `public`, to rows.
    pub(super) tables: BTreeMap<String, u64>,
    /// The newest migration that is applied; none before the first.
    pub(super) migration: Option<u64>,
    /// When it was taken, by the server's clock: `2026-11-30 23:59:59`, in UTC.
    pub(super) taken_at: String,
    /// What the database takes on the disk, in bytes.
    pub(super) bytes: u64,
}

impl Census {
    /// The rows of all tables together.
    pub(super) fn rows(&self) -> u64 {
        self.tables.values().sum()
    }
}

/// Each line is a word, a tab and what it is about. `\gexec` runs what the statement before it has
/// printed: a statement for each table.
const QUESTIONS: &str = r"
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT 'snapshot', pg_export_snapshot();
SELECT 'taken_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS');
SELECT 'bytes', pg_database_size(current_database());
SELECT 'SELECT ''migration'', max(version) FROM _sqlx_migrations WHERE success'
 WHERE to_regclass('_sqlx_migrations') IS NOT NULL
\gexec
SELECT format('SELECT %L, %L, count(*) FROM %I.%I', 'table',
              CASE nspname WHEN 'public' THEN '' ELSE nspname || '.' END || relname, nspname, relname)
  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE relkind = 'r' AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
 ORDER BY 1
\gexec
SELECT 'end', '';
";

/// A transaction that stays open, so that others can see what it has counted.
pub(super) struct Session {
    psql: Child,
    said: Option<std::thread::JoinHandle<String>>,
    /// For `pg_dump --snapshot`, as long as this session lives: it then sees what was counted.
    pub(super) snapshot: String,
    pub(super) census: Census,
}

impl Session {
    /// Counts everything in this database.
    pub(super) fn open(stack: &dyn Stack, database: &str) -> Result<Self> {
        let mut psql = super::psql(stack, OWNER, database)?;
        let said = listen(&mut psql);
        if let Some(stdin) = &mut psql.stdin {
            stdin.write_all(QUESTIONS.as_bytes())?;
        }
        let answers = psql
            .stdout
            .take()
            .context("psql's answers cannot be read")?;
        let (mut census, mut snapshot) = (Census::default(), String::new());
        for line in BufReader::new(answers).lines() {
            let line = line?;
            match line.split_once('\t') {
                Some(("end", _)) => {
                    return Ok(Self {
                        psql,
                        said,
                        snapshot,
                        census,
                    });
                }
                Some(("snapshot", name)) => snapshot = name.to_owned(),
                Some((word, rest)) => census.note(word, rest)?,
                None => {}
            }
        }
        finish(psql, said, "the tables cannot be counted")?;
        bail!("psql ended before all tables were counted")
    }

    /// Ends the transaction.
    pub(super) fn close(mut self) -> Result<Census> {
        drop(self.psql.stdin.take());
        finish(self.psql, self.said, "psql")?;
        Ok(self.census)
    }
}

/// Counts everything in this database.
pub(super) fn take(stack: &dyn Stack, database: &str) -> Result<Census> {
    Session::open(stack, database)?.close()
}

impl Census {
    fn note(&mut self, word: &str, rest: &str) -> Result<()> {
        match word {
            "taken_at" => self.taken_at = rest.to_owned(),
            "bytes" => self.bytes = rest.parse()?,
            "migration" => self.migration = rest.parse().ok(),
            "table" => {
                let (table, rows) = rest.rsplit_once('\t').context("a table without rows")?;
                self.tables.insert(table.to_owned(), rows.parse()?);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_a_census() {
        let mut census = Census::default();
        for line in [
            "taken_at\t2026-11-30 23:59:59",
            "bytes\t8000000",
            "migration\t20261122130000",
            "table\taccounts\t3",
            "table\tother.a\tb\t4",
        ] {
            let (word, rest) = line.split_once('\t').unwrap();
            census.note(word, rest).unwrap();
        }
        assert_eq!(census.migration, Some(20_261_122_130_000));
        assert_eq!(census.tables["other.a\tb"], 4);
        assert_eq!(census.rows(), 7);
    }
}
