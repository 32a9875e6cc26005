//! `cargo xtask generate`: the start of a resource, a job or a migration, as they are written here.
//!
//! Everything is checked first: names, clashes, the places where a line has to go. Then all is
//! written, or nothing. What comes out is a team's own code; nothing reads it as generated.

mod field;
mod names;
mod plan;
mod register;
mod template;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use self::field::Field;
use self::names::Names;
pub(crate) use self::names::is_reserved;
use self::plan::Plan;
use self::template::{aligned, fill};
use crate::project::Project;
use crate::verbose::Shown as _;
use crate::{db, migrate, openapi, terminal};

/// What can be generated.
#[derive(Subcommand)]
pub(crate) enum Generate {
    /// A resource of the API: its table, its rules, five endpoints, their tests
    ///
    /// Each belongs to the account that makes it. Create, list in pages, show with an ETag, change
    /// with If-Match, delete; described in api/openapi.json. Then `db prepare` and `openapi` run.
    #[command(after_help = "\
Example: cargo xtask generate resource project name:text due_at:timestamp archived:boolean
  makes /v1/projects, and: cargo xtask test -- -p api --test it projects")]
    Resource(Resource),
    /// A job: its payload, its handler, its test
    #[command(after_help = "\
Example: cargo xtask generate job ship_order order_id:uuid
  then enqueue it where the rows change: outbox::enqueue(&mut tx, &ShipOrder { order_id })")]
    Job(Job),
    /// The two files of a migration: the same as `migrate new`
    Migration {
        /// In words: add_orders
        name: String,
    },
}

/// Options of `generate resource`.
#[derive(Args)]
pub(crate) struct Resource {
    /// In the singular: project, order_line
    name: String,
    /// name:type, the type one of text, integer, boolean, timestamp, uuid
    #[arg(required = true)]
    fields: Vec<String>,
    /// Where it is irregular: generate resource person --plural people
    #[arg(long)]
    plural: Option<String>,
    /// List what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not run `db prepare` and `openapi` afterwards
    #[arg(long)]
    files_only: bool,
}

/// Options of `generate job`.
#[derive(Args)]
pub(crate) struct Job {
    /// What it does: ship_order
    name: String,
    /// What its payload holds, ids rather than data: name:type
    fields: Vec<String>,
    /// List what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// The files of a resource's routes, and what they are made from.
const ROUTES: [(&str, &str); 6] = [
    ("mod", include_str!("templates/resource/routes.rs")),
    ("create", include_str!("templates/resource/create.rs")),
    ("list", include_str!("templates/resource/list.rs")),
    ("show", include_str!("templates/resource/show.rs")),
    ("change", include_str!("templates/resource/change.rs")),
    ("delete", include_str!("templates/resource/delete.rs")),
];

/// Generates what was asked for.
pub(crate) fn run(project: &Project, what: &Generate) -> Result<()> {
    match what {
        Generate::Resource(args) => resource(project, args),
        Generate::Job(args) => job(project, args),
        Generate::Migration { name } => migrate::create(project, name),
    }
}

fn resource(project: &Project, args: &Resource) -> Result<()> {
    let names = Names::resource(&args.name, args.plural.as_deref())?;
    let fields = Field::parse_all(&args.fields)?;
    let plural = &names.plural;
    no_such_table(project, plural)?;
    let version = migrate::next_version(project)?;

    let mut plan = Plan::new(project);
    for (kind, text) in [
        ("up", include_str!("templates/resource/up.sql")),
        ("down", include_str!("templates/resource/down.sql")),
    ] {
        let path = format!("migrations/{version}_{plural}.{kind}.sql");
        plan.file(&path, aligned(&fill(text, &names, &fields)));
    }
    plan.module_is_free("domain/src", plural)?;
    let domain = include_str!("templates/resource/domain.rs");
    plan.file(
        &format!("domain/src/{plural}/mod.rs"),
        fill(domain, &names, &fields),
    );
    plan.line("domain/src/lib.rs", &format!("pub mod {plural};"))?;

    plan.module_is_free("api/src/routes", plural)?;
    for name in ["", "New"].map(|start| format!("{start}{}", names.type_name())) {
        plan.type_is_free("api/src", &name)?;
    }
    plan.type_is_free("api/src", &format!("{}Change", names.type_name()))?;
    for (file, text) in ROUTES {
        let path = format!("api/src/routes/{plural}/{file}.rs");
        plan.file(&path, fill(text, &names, &fields));
    }
    plan.line("api/src/routes/mod.rs", &format!("mod {plural};"))?;
    plan.line(
        "api/src/routes/mod.rs",
        &format!(".merge({plural}::router())"),
    )?;
    plan.tag(
        "api/src/openapi/shared.json",
        &names.things(),
        &format!("{} of the account's.", names.capital_things()),
    )?;

    plan.module_is_free("api/tests/it", plural)?;
    let test = include_str!("templates/resource/test.rs");
    plan.file(
        &format!("api/tests/it/{plural}.rs"),
        fill(test, &names, &fields),
    );
    plan.line("api/tests/it/main.rs", &format!("mod {plural};"))?;

    if !write(project, &plan, args.dry_run)? {
        return Ok(());
    }
    let test = format!("cargo xtask test -- -p api --test it {plural}");
    if args.files_only {
        terminal::note(&format!(
            "next: cargo xtask db prepare, cargo xtask openapi, then {test}"
        ));
        return Ok(());
    }
    let followed = db::prepare::run(project).and_then(|()| openapi::run(project, false));
    followed.context("the files are written; what follows them failed")?;
    terminal::note(&format!("next: {test}, then cargo xtask up"));
    Ok(())
}

fn job(project: &Project, args: &Job) -> Result<()> {
    let names = Names::job(&args.name)?;
    let fields = Field::parse_all(&args.fields)?;
    let name = &names.singular;

    let mut plan = Plan::new(project);
    plan.type_is_free("domain/src/jobs.rs", &names.type_name())?;
    let payload = include_str!("templates/job/payload.rs");
    plan.append(
        "domain/src/jobs.rs",
        &fill(payload, &names, &fields),
        &format!("struct {}", names.type_name()),
    )?;
    plan.module_is_free("worker/src/jobs", name)?;
    let handler = include_str!("templates/job/handler.rs");
    plan.file(
        &format!("worker/src/jobs/{name}.rs"),
        fill(handler, &names, &fields),
    );
    plan.line("worker/src/jobs/mod.rs", &format!("mod {name};"))?;
    plan.line("worker/src/jobs/mod.rs", &format!(".register({name}::run)"))?;
    plan.module_is_free("worker/tests/it", name)?;
    let test = include_str!("templates/job/test.rs");
    plan.file(
        &format!("worker/tests/it/{name}.rs"),
        fill(test, &names, &fields),
    );
    plan.line("worker/tests/it/main.rs", &format!("mod {name};"))?;

    if write(project, &plan, args.dry_run)? {
        terminal::note(&format!(
            "next: say in worker/src/jobs/{name}.rs what it does, then cargo xtask test -- -p worker --test it {name}"
        ));
    }
    Ok(())
}

/// Writes the plan, formatted, and lists it; with `dry_run` only the latter. Whether it wrote.
fn write(project: &Project, plan: &Plan, dry_run: bool) -> Result<bool> {
    if !dry_run {
        plan.write()?;
        format(project, plan);
    }
    terminal::print(&plan.table());
    if dry_run {
        terminal::note("nothing was written: this was a dry run");
    }
    Ok(!dry_run)
}

/// Formats what was written. It compiles without, so a failure is only told.
fn format(project: &Project, plan: &Plan) {
    let formatted = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .args(plan.rust_files())
        .current_dir(project.root())
        .shown()
        .status();
    if !formatted.is_ok_and(|status| status.success()) {
        terminal::warn("the files are not formatted: run `cargo fmt`");
    }
}

/// Looks for the table in the migrations there are.
fn no_such_table(project: &Project, table: &str) -> Result<()> {
    let folder = project.root().join("migrations");
    let entries = fs::read_dir(&folder).context("migrations/ cannot be read")?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let makes = creates(&fs::read_to_string(&path).unwrap_or_default(), table);
        if is_up(&path) && makes {
            bail!(
                "there is a table `{table}` already, made by migrations/{}\n  \
                 next: take another name, or --plural",
                name.display()
            );
        }
    }
    Ok(())
}

fn is_up(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".up.sql")
}

fn creates(sql: &str, table: &str) -> bool {
    let words: Vec<String> = sql
        .split(|c: char| c.is_whitespace() || c == '(')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words
        .windows(3)
        .any(|three| three[0] == "create" && three[1] == "table" && three[2] == table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_found_however_it_is_made() {
        assert!(creates("CREATE TABLE orders (\n", "orders"));
        assert!(creates("-- x\ncreate table\n  orders(id uuid)", "orders"));
        assert!(!creates("CREATE TABLE order_lines (id uuid)", "orders"));
    }
}
