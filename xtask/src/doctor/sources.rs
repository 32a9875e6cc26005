//! What is in the checkout: offline data of the SQL, line ends, git.

use std::fs;
use std::path::{Path, PathBuf};

use super::finding::{Finding, fail, ok, warn};
use super::fix::Fix;
use super::machine::output;
use crate::db;
use crate::project::Project;

/// All of them.
pub(super) fn all(project: &Project) -> Vec<Finding> {
    let mut findings = vec![offline_data(project), line_ends(project)];
    findings.extend(git(project));
    findings
}

/// What a start needs.
pub(super) fn before_up(project: &Project) -> Vec<Finding> {
    let mut data = offline_data(project);
    // Not everything that differs keeps the code from being compiled.
    data.severity = data.severity.min(super::finding::Severity::Warn);
    vec![data, line_ends(project)]
}

fn offline_data(project: &Project) -> Finding {
    match db::prepare::stale_at_a_glance(project) {
        Ok(None) => ok(".sqlx", "describes the statements in the code"),
        Ok(Some(difference)) => {
            let finding = format!("stale: {difference}");
            fail(".sqlx", finding, "`cargo xtask db prepare`").fixed_by(Fix::OfflineData)
        }
        Err(error) => fail(".sqlx", format!("{error:#}"), "`git checkout .sqlx`"),
    }
}

/// Files whose bytes count: a migration's checksum, a shell's or server's configuration.
fn line_ends(project: &Project) -> Finding {
    let mut files = Vec::new();
    for folder in ["migrations", "docker", ".sqlx"] {
        collect(&project.root().join(folder), &mut files);
    }
    files.retain(|path| is_text(path) && fs::read(path).is_ok_and(|bytes| bytes.contains(&b'\r')));
    files.sort();
    let Some(first) = files.first() else {
        return ok("line ends", "LF in migrations/, docker/ and .sqlx/");
    };
    let shown = first
        .strip_prefix(project.root())
        .unwrap_or(first)
        .display();
    let others = match files.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let finding = format!(
        "Windows line ends (CRLF) in {shown}{others}: a migration with them has another checksum"
    );
    fail(
        "line ends",
        finding,
        "`cargo xtask doctor --fix` makes them LF",
    )
    .fixed_by(Fix::LineEnds(files))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn is_text(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = [
        ".sql",
        ".rs",
        ".yml",
        ".json",
        ".toml",
        ".conf",
        ".template",
        ".sh",
        ".env",
    ];
    name == "Dockerfile" || ends.iter().any(|end| name.ends_with(end))
}

/// What git is told to do with this checkout. Nothing where there is no git, or no repository.
fn git(project: &Project) -> Vec<Finding> {
    let root = project.root();
    let git = |args: &[&str]| output("git", args, root);
    if git(&["rev-parse", "--git-dir"]).is_none() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let tracked = git(&["ls-files", "--", "secrets", ".env"]).unwrap_or_default();
    if let Some(first) = tracked.lines().next() {
        findings.push(fail(
            "git",
            format!("{first} is in git: whoever has the repository has it too"),
            "`git rm -r --cached secrets .env`, commit, and make new ones: the old are known",
        ));
    }
    // Whatever core.autocrlf says, the attribute wins; without it Windows gets CRLF.
    let ends = git(&["check-attr", "eol", "--", "migrations/x.sql"]).unwrap_or_default();
    if !ends.trim().ends_with(": lf") {
        findings.push(fail(
            "git",
            "writes SQL files with the line ends of each machine, which changes their checksums",
            "put `*.sql text eol=lf` into .gitattributes",
        ));
    }
    findings.extend(idle_hooks(
        root,
        &git(&["rev-parse", "--git-path", "hooks"]).unwrap_or_default(),
    ));
    if findings.is_empty() {
        findings.push(ok("git", "keeps LF everywhere, and no secret"));
    }
    findings
}

/// Hooks that git passes over in silence, because they cannot be executed.
fn idle_hooks(root: &Path, folder: &str) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt;
    let entries = fs::read_dir(root.join(folder.trim())).ok()?;
    let mut hooks = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let is_hook = path.is_file() && path.extension().is_none();
        let mode = fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
        is_hook && mode & 0o111 == 0
    });
    let hook = hooks.next()?.display().to_string();
    let finding = format!("the hook {hook} never runs: it is not executable");
    Some(warn("git", finding, format!("`chmod +x {hook}`")))
}
