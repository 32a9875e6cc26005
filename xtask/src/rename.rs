//! `cargo xtask rename`: gives the product a name of your own, in every file.
//!
//! The name is one word, and stands in three cases: in code, paths and the database's roles, in
//! sentences, and in variables. All are replaced, wherever they are whole words; nothing has to
//! know which place means what.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::generate::is_reserved;
use crate::project::Project;
use crate::stack;
use crate::{cargo, terminal};

/// What the product is called. A rename changes this line like any other.
const NAME: &str = "slipway";

/// The name that documents and `--help` rename to: where it stands, it may be taken along.
const EXAMPLE: &str = "harbour";

/// Files that keep the name: they say whose work this was made from.
const KEPT: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// Names that something beside the product has: of Postgres, of Redis, of a container.
const TAKEN: &str = "admin default docker health mail maildev migrate nginx postgres prometheus proxy \
                     public redis root template0 template1";

/// Options of `rename`.
#[derive(Args)]
#[command(after_help = "\
Example: cargo xtask rename harbour
  slipway, Slipway and SLIPWAY become harbour, Harbour and HARBOUR: in code, documents, mails, the
  database's name and roles, problem types, SLIPWAY_IMAGE, and the folder .slipway/.")]
pub(crate) struct Rename {
    /// One word in lower case: harbour
    name: String,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also with uncommitted changes, or without git
    #[arg(long)]
    force: bool,
}

/// A file in which the name stands.
struct Change {
    path: String,
    text: String,
    places: usize,
}

/// Renames everything, or says why not.
pub(crate) fn run(project: &Project, args: &Rename) -> Result<()> {
    check_name(project, &args.name)?;
    if !args.dry_run {
        no_data(project)?;
        if !args.force {
            nothing_uncommitted(project)?;
        }
    }
    let files = files(project)?;
    let changes = changes(project, &files, &args.name)?;
    if changes.is_empty() {
        bail!("`{NAME}` stands nowhere\n  next: git log --oneline -S {NAME}");
    }
    terminal::print(&summary(&changes, args));
    let before = occurrences(project, &files, &args.name);
    if before > 0 && args.name != EXAMPLE {
        terminal::warn(&format!(
            "`{}` stands in {before} places already; another rename would take these along",
            args.name
        ));
    }
    if args.dry_run {
        terminal::note("nothing was renamed: this was a dry run");
        return Ok(());
    }
    // All of them before the first: half a rename is no rename.
    all_writable(
        project.root(),
        changes.iter().map(|change| change.path.as_str()),
    )?;
    for change in &changes {
        // In place, so that the file keeps its mode. What it was is in git.
        fs::write(project.root().join(&change.path), &change.text)
            .with_context(|| format!("{} cannot be written", change.path))?;
    }
    let (old, new) = (
        project.state_dir(),
        project.root().join(format!(".{}", args.name)),
    );
    if old.is_dir() {
        fs::rename(&old, &new).with_context(|| format!("{} cannot be moved", old.display()))?;
    }
    // Another length breaks lines elsewhere.
    let formatted = cargo::command(project).arg("fmt").status();
    if !formatted.is_ok_and(|status| status.success()) {
        terminal::warn("the code is not formatted: run `cargo fmt`");
    }
    let keeps =
        |file: &&str| text(project, file).is_some_and(|text| renamed(&text, NAME, "").1 > 0);
    let kept: Vec<&str> = KEPT.into_iter().filter(|file| keeps(file)).collect();
    if !kept.is_empty() {
        let kept = kept.join(", ");
        terminal::note(&format!(
            "the old name stays in {kept}: it says whose work this was"
        ));
    }
    terminal::note(&format!(
        "renamed\n  \
         next: cargo xtask test, then git commit --all --message 'The product is called {}'",
        args.name
    ));
    Ok(())
}

fn check_name(project: &Project, name: &str) -> Result<()> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !starts || !plain || !(2..=30).contains(&name.len()) {
        bail!(
            "`{name}` is no name for a product: it becomes a database, a role and a variable\n  \
             next: take one word of 2 to 30 lower-case letters and digits, like harbour"
        );
    }
    if name == NAME {
        bail!("it is called `{name}` already\n  next: git grep --ignore-case {name}");
    }
    let has_folder = |path: String| project.root().join(path).exists();
    let is_taken = is_reserved(name)
        || TAKEN.split_whitespace().any(|taken| taken == name)
        || has_folder(name.to_owned())
        || has_folder(format!(".{name}"));
    if is_taken {
        bail!(
            "`{name}` is taken: a word of Rust or SQL, a folder here, or a part of the stack\n  \
             next: take another name"
        );
    }
    Ok(())
}

/// A stack's data is in a database of the old name, with roles of the old name: the renamed stack
/// would not find it, and could not restore a backup of it.
fn no_data(project: &Project) -> Result<()> {
    let mode = project.mode();
    if mode.is_none() && !stack::has_data(project)? {
        return Ok(());
    }
    let services = mode.map(|mode| stack::of(mode, project)?.ps());
    let services = services.and_then(Result::ok).unwrap_or_default();
    let runs = services.iter().any(|service| service.state == "running");
    let what = if runs {
        "a stack runs here, and has its data"
    } else {
        "the stack of this checkout has left its data"
    };
    bail!(
        "{what} in a database called `{NAME}`, which the renamed one would not find; backups name \
         its roles, and cannot be restored there\n  \
         next: cargo xtask down --volumes, if nothing in it has to be kept"
    );
}

fn nothing_uncommitted(project: &Project) -> Result<()> {
    let Some(status) = git(project, &["status", "--porcelain"]) else {
        bail!(
            "there is no git here, so nothing could be taken back\n  \
             next: git init && git add --all && git commit, or the same with --force"
        );
    };
    let changed = status.lines().count();
    if changed > 0 {
        bail!(
            "{changed} changes are not committed, and would be mixed with those of the rename\n  \
             next: git commit --all, or the same with --force"
        );
    }
    Ok(())
}

/// What git says about the project. None without a repository, or with one that does not have its
/// files: this folder may lie ignored in another's.
fn git(project: &Project, words: &[&str]) -> Option<String> {
    let ask = |words: &[&str]| {
        let output = Command::new("git")
            .args(words)
            .current_dir(project.root())
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    };
    let has_it = ask(&["ls-files", "--", "Cargo.toml", "docker"])?;
    if has_it.is_empty() {
        return None;
    }
    ask(words)
}

/// The files of the project, as git knows them or as they lie there, and the settings of this
/// checkout.
fn files(project: &Project) -> Result<Vec<String>> {
    let listed = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let mut files = match git(project, &listed) {
        Some(listed) => listed.split_terminator('\0').map(str::to_owned).collect(),
        None => {
            let mut found = Vec::new();
            walk(project.root(), project.root(), &mut found)?;
            found
        }
    };
    if !files.iter().any(|file| file == ".env") {
        files.push(".env".to_owned());
    }
    files.retain(|file| !KEPT.contains(&file.as_str()));
    files.sort();
    Ok(files)
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) -> Result<()> {
    let left_out = ["target", ".git", "secrets"].map(|name| root.join(name));
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            if !left_out.contains(&path) && path != root.join(format!(".{NAME}")) {
                walk(root, &path, found)?;
            }
        } else if let Ok(name) = path.strip_prefix(root) {
            found.push(name.display().to_string());
        }
    }
    Ok(())
}

/// The file's text; None for what is no text, or not there.
fn text(project: &Project, file: &str) -> Option<String> {
    let path: PathBuf = project.root().join(file);
    let text = fs::read_to_string(path).ok()?;
    (!text.contains('\0')).then_some(text)
}

fn changes(project: &Project, files: &[String], name: &str) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for path in files {
        let Some(before) = text(project, path) else {
            continue;
        };
        let (text, places) = renamed(&before, NAME, name);
        if places > 0 {
            let path = path.clone();
            changes.push(Change { path, text, places });
        }
    }
    Ok(changes)
}

fn all_writable<'a>(root: &Path, paths: impl Iterator<Item = &'a str>) -> Result<()> {
    for path in paths {
        // Opened, and left as it is.
        if let Err(error) = File::options().append(true).open(root.join(path)) {
            bail!(
                "{path} cannot be written: {error}; nothing was renamed\n  \
                 next: `sudo chown -R \"$(id -u)\" . && chmod u+w {path}`"
            );
        }
    }
    Ok(())
}

fn occurrences(project: &Project, files: &[String], name: &str) -> usize {
    let texts = files.iter().filter_map(|file| text(project, file));
    texts.map(|text| renamed(&text, name, name).1).sum()
}

/// The text with the name replaced in its three cases, and in how many places.
fn renamed(text: &str, from: &str, to: &str) -> (String, usize) {
    let forms = [
        (from.to_owned(), to.to_owned()),
        (capital(from), capital(to)),
        (from.to_uppercase(), to.to_uppercase()),
    ];
    let (mut result, mut places) = (String::with_capacity(text.len()), 0);
    let mut rest = text;
    let mut previous = ' ';
    while let Some(c) = rest.chars().next() {
        let found = forms.iter().find(|(from, _)| {
            let next = rest.strip_prefix(from.as_str());
            next.is_some_and(|next| is_whole(previous, from, next.chars().next()))
        });
        if let Some((from, to)) = found {
            result.push_str(to);
            rest = &rest[from.len()..];
            previous = 'a';
            places += 1;
        } else {
            result.push(c);
            rest = &rest[c.len_utf8()..];
            previous = c;
        }
    }
    (result, places)
}

/// Whether a word ends on both sides: at anything but a letter, and where the case says that
/// another begins, as in `NameOfAType` or `nameOfAField`.
fn is_whole(previous: char, word: &str, next: Option<char>) -> bool {
    let first_is_capital = word.starts_with(|c: char| c.is_uppercase());
    let last_is_capital = word.ends_with(|c: char| c.is_uppercase());
    let begins = !previous.is_alphabetic() || (first_is_capital && previous.is_lowercase());
    let ends =
        next.is_none_or(|next| !next.is_alphabetic() || (!last_is_capital && next.is_uppercase()));
    begins && ends
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    format!("{}{rest}", first.to_uppercase())
}

/// For people: on a dry run every file, otherwise how many.
fn summary(changes: &[Change], args: &Rename) -> String {
    let places: usize = changes.iter().map(|change| change.places).sum();
    let whole = format!(
        "{NAME} becomes {} in {places} places of {} files",
        args.name,
        changes.len()
    );
    if !args.dry_run {
        return whole;
    }
    let rows: Vec<_> = changes
        .iter()
        .map(|change| {
            vec![
                (change.path.clone(), None),
                (change.places.to_string(), None),
            ]
        })
        .collect();
    format!("{}\n{whole}", terminal::table(&["file", "places"], &rows))
}

#[cfg(test)]
mod tests;
