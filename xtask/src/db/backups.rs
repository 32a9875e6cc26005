//! `cargo xtask db backups`: which backups there are.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::archive::{self, Archive};
use super::census::Census;
use super::megabytes;
use crate::project::Project;
use crate::terminal;

/// List the backups in .slipway/backups/, newest first
#[derive(Args)]
pub(crate) struct Backups {
    /// For machines: {"backups": [{"file", "taken_at", "bytes", "migration", "rows"}]}
    #[arg(long)]
    json: bool,
}

/// Prints them as a table or as JSON.
pub(super) fn run(project: &Project, args: &Backups) -> Result<()> {
    let archives = archive::all(project)?;
    if args.json {
        let backups: Vec<Value> = archives.iter().map(document).collect();
        terminal::print(&json!({ "backups": backups }).to_string());
        return Ok(());
    }
    if archives.is_empty() {
        terminal::note("there is no backup yet\n  next: `cargo xtask db backup`");
        return Ok(());
    }
    let row = |archive: &Archive| {
        let taken_at = archive
            .census
            .as_ref()
            .map(|census| census.taken_at.clone());
        let rows = archive
            .census
            .as_ref()
            .map(|census| census.rows().to_string());
        [
            archive.name(),
            taken_at.unwrap_or_else(|| "not known".to_owned()),
            megabytes(archive.bytes),
            rows.unwrap_or_default(),
            archive.migration(),
        ]
        .map(|cell| (cell, None))
        .to_vec()
    };
    let rows: Vec<_> = archives.iter().map(row).collect();
    let heading = ["backup", "taken (UTC)", "size", "rows", "schema"];
    terminal::print(&terminal::table(&heading, &rows));
    terminal::note(&format!("in {}", archive::folder(project).display()));
    Ok(())
}

fn document(archive: &Archive) -> Value {
    let census = archive.census.as_ref();
    json!({
        "file": archive.path,
        "taken_at": census.map(|census| census.taken_at.replace(' ', "T") + "Z"),
        "bytes": archive.bytes,
        "migration": census.and_then(|census| census.migration),
        "rows": census.map(Census::rows),
    })
}
