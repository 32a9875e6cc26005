//! The folder `migrations/`: what can be said of its files without a database.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::rules::{self, Hurt};
use crate::project::Project;
use crate::verbose::Shown as _;

/// The statements of files that are applied somewhere and so cannot get a comment any more.
const SAFE: &str = "safe.txt";

/// Where others get the migrations from, the first that there is.
const MAIN: [&str; 4] = ["origin/main", "main", "origin/master", "master"];

/// File name to text.
pub(super) type Files = BTreeMap<String, String>;

/// Something that is wrong with a file, and what to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    /// `20261122130000_account_changes.up.sql`, with its line where it has one.
    pub(super) place: String,
    pub(super) what: String,
    pub(super) remedy: String,
}

/// The `.sql` files, and the text of `safe.txt`.
pub(super) fn read(project: &Project) -> Result<(Files, String)> {
    let folder = project.root().join("migrations");
    let mut files = Files::new();
    let entries =
        fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sql") {
            let path = folder.join(&name);
            let text = fs::read(&path);
            let text = text.with_context(|| format!("{} cannot be read", path.display()))?;
            files.insert(name, String::from_utf8_lossy(&text).into_owned());
        }
    }
    let safe = fs::read_to_string(folder.join(SAFE)).unwrap_or_default();
    Ok((files, safe))
}

/// The migrations that others have; None without git or without a branch of that name.
pub(super) fn on_main(root: &Path) -> Option<Files> {
    let git = |words: &[&str]| {
        let output = Command::new("git")
            .args(words)
            .current_dir(root)
            .shown()
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let is_there = |name: &&str| git(&["rev-parse", "--verify", "--quiet", name]).is_some();
    let main = MAIN.into_iter().find(is_there)?;
    let listed = git(&["ls-tree", "--name-only", main, "migrations/"])?;
    let names = listed.lines().filter(|path| path.ends_with(".sql"));
    names
        .map(|path| {
            let text = git(&["show", &format!("{main}:{path}")])?;
            Some((path.strip_prefix("migrations/")?.to_owned(), text))
        })
        .collect()
}

/// Everything that is wrong, by file.
pub(super) fn findings(files: &Files, safe: &str, main: Option<&Files>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, text) in files {
        findings.extend(of_file(name, text, files));
        if let Some(main) = main {
            findings.extend(of_main(name, text, main));
        }
        if name.ends_with(".up.sql") {
            let hurts = rules::hurts(text).into_iter();
            let unlisted = hurts.filter(|hurt| !is_listed(safe, name, hurt));
            findings.extend(unlisted.map(|hurt| told(name, &hurt)));
        }
    }
    findings.extend(stale(safe, files));
    findings
}

fn finding(place: &str, what: &str, remedy: &str) -> Finding {
    Finding {
        place: place.to_owned(),
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// What the name, the line ends and the file beside it say.
fn of_file(name: &str, text: &str, files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (stem, other, is_up) = match (name.strip_suffix(".up.sql"), name.strip_suffix(".down.sql"))
    {
        (Some(stem), _) => (stem, format!("{stem}.down.sql"), true),
        (_, Some(stem)) => (stem, format!("{stem}.up.sql"), false),
        _ => {
            let remedy = "name it VERSION_NAME.up.sql or .down.sql; `cargo xtask migrate new NAME` makes both";
            return vec![finding(name, "is neither an up nor a down file", remedy)];
        }
    };
    if version(name).is_none() {
        let remedy = "begin its name with a time, as `cargo xtask migrate new NAME` does";
        findings.push(finding(name, "has no version", remedy));
    }
    let is_twin = |twin: &&String| {
        let of_another = !twin.starts_with(&format!("{stem}."));
        of_another && version(twin).is_some() && version(twin) == version(name)
    };
    if let Some(twin) = files.keys().find(is_twin) {
        let what = format!("has the version of {twin}");
        findings.push(finding(
            name,
            &what,
            "rename both of its files to a later time",
        ));
    }
    if text.contains('\r') {
        let remedy = "save it with LF: another line end is another checksum";
        findings.push(finding(name, "has Windows line ends (CRLF)", remedy));
    }
    if !files.contains_key(&other) {
        let remedy = if is_up {
            "write the file that undoes it; where nothing can, say so in it"
        } else {
            "write the file that it undoes, or remove it"
        };
        findings.push(finding(name, &format!("has no {other}"), remedy));
    }
    findings
}

/// What the files that others have say.
fn of_main(name: &str, text: &str, main: &Files) -> Option<Finding> {
    match main.get(name) {
        Some(before) if before != text && name.ends_with(".up.sql") => Some(finding(
            name,
            "is not what it is on the main branch, from where others have applied it",
            "restore it, and write a new migration",
        )),
        Some(_) => None,
        None => {
            let newest = main.keys().filter_map(|name| version(name)).max()?;
            (name.ends_with(".up.sql") && version(name)? < newest).then(|| {
                finding(
                    name,
                    &format!("is older than {newest}, which is on the main branch: where that is applied, this never is"),
                    "rename both of its files to a time of now",
                )
            })
        }
    }
}

fn version(name: &str) -> Option<u64> {
    name.split_once('_')?.0.parse().ok()
}

fn told(name: &str, hurt: &Hurt) -> Finding {
    let Hurt { rule, line, of, .. } = hurt;
    let of = match of.name.as_str() {
        "" => String::new(),
        name => format!(" on {name}"),
    };
    Finding {
        place: format!("{name}:{line}"),
        what: format!("{}{of}: {}", rule.name, rule.why),
        remedy: format!(
            "{}; or, where it does no harm, a line above: `-- safe: WHY`",
            rule.instead
        ),
    }
}

/// The lines of `safe.txt`: version, rule, reason.
fn listed(safe: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let lines = safe.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (version, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (rule, reason) = rest.trim().split_once(' ').unwrap_or((rest, ""));
            (version, rule, reason.trim())
        })
}

fn is_listed(safe: &str, name: &str, hurt: &Hurt) -> bool {
    listed(safe).any(|(version, rule, reason)| {
        name.starts_with(&format!("{version}_")) && rule == hurt.rule.name && !reason.is_empty()
    })
}

/// Lines of `safe.txt` that are about nothing.
fn stale(safe: &str, files: &Files) -> Vec<Finding> {
    let is_about = |version: &str, rule: &str| {
        files.iter().any(|(name, text)| {
            let hurts = || rules::all(text).into_iter();
            name.starts_with(&format!("{version}_")) && hurts().any(|hurt| hurt.rule.name == rule)
        })
    };
    listed(safe)
        .filter(|(version, rule, reason)| reason.is_empty() || !is_about(version, rule))
        .map(|(version, rule, _)| {
            let names: Vec<&str> = rules::RULES.iter().map(|rule| rule.name).collect();
            finding(
                SAFE,
                &format!("`{version} {rule}` is about nothing, or gives no reason"),
                &format!(
                    "remove the line, or write: VERSION RULE REASON, with a rule of {}",
                    names.join(", ")
                ),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(given: &[(&str, &str)]) -> Files {
        let given = given.iter();
        given
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    /// Each finding's place and the beginning of its words.
    fn found(given: &[(&str, &str)], safe: &str, main: Option<&[(&str, &str)]>) -> Vec<String> {
        let findings = findings(&files(given), safe, main.map(files).as_ref());
        let words = |finding: &Finding| {
            let words: Vec<&str> = finding.what.split(' ').take(3).collect();
            format!("{} {}", finding.place, words.join(" "))
        };
        findings.iter().map(words).collect()
    }

    #[test]
    fn names_line_ends_and_halves_are_looked_at() {
        assert_eq!(
            found(
                &[
                    ("1_a.up.sql", "SELECT 1;\r\n"),
                    ("1_b.up.sql", ""),
                    ("1_b.down.sql", ""),
                    ("2_c.down.sql", ""),
                    ("3_d.sql", ""),
                    ("e.up.sql", ""),
                    ("e.down.sql", ""),
                ],
                "",
                None
            ),
            [
                "1_a.up.sql has the version",
                "1_a.up.sql has Windows line",
                "1_a.up.sql has no 1_a.down.sql",
                "1_b.down.sql has the version",
                "1_b.up.sql has the version",
                "2_c.down.sql has no 2_c.up.sql",
                "3_d.sql is neither an",
                "e.down.sql has no version",
                "e.up.sql has no version",
            ]
        );
    }

    #[test]
    fn what_others_have_is_neither_edited_nor_preceded() {
        let main = [("2_b.up.sql", "SELECT 2;"), ("2_b.down.sql", "")];
        let ours = [
            ("1_a.up.sql", ""),
            ("1_a.down.sql", ""),
            ("2_b.up.sql", "SELECT 3;"),
            ("2_b.down.sql", "-- A comment more."),
            ("3_c.up.sql", ""),
            ("3_c.down.sql", ""),
        ];
        assert_eq!(
            found(&ours, "", Some(&main)),
            ["1_a.up.sql is older than", "2_b.up.sql is not what"]
        );
        assert_eq!(found(&ours, "", None), [""; 0]);
    }

    #[test]
    fn statements_of_up_files_are_listed_or_told() {
        let ours = [
            ("1_a.up.sql", "DROP TABLE a;\nTRUNCATE b;"),
            ("1_a.down.sql", "DROP TABLE c;"),
        ];
        assert_eq!(
            found(&ours, "# Why.\n1 drop-table  it was never used\n", None),
            ["1_a.up.sql:2 truncate on b:"]
        );
        assert_eq!(
            found(&ours, "1 drop-table\n1 truncate x\n9 rename y\n", None),
            [
                "1_a.up.sql:1 drop-table on a:",
                "safe.txt `1 drop-table` is",
                "safe.txt `9 rename` is"
            ]
        );
    }

    #[test]
    fn the_migrations_of_this_project_pass() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (files, safe) = read(&Project::at(&root).unwrap()).unwrap();
        assert!(files.len() > 10);
        assert_eq!(findings(&files, &safe, None), []);
    }
}
