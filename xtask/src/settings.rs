//! What the developer set: the shell's environment first, then `.env`.
//!
//! The same order and nearly the same syntax as `docker compose`, so that a line of `.env` means
//! the same in both modes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::project::Project;

/// The variables of `.env`, and the way to look one up.
pub(crate) struct Settings {
    file: BTreeMap<String, String>,
}

impl Settings {
    /// Reads `.env` of the checkout; none there is the same as an empty one.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let path = root.join(".env");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
        };
        Ok(Self { file: parse(&text) })
    }

    /// The variable's value; an empty one counts as unset.
    #[expect(
        clippy::disallowed_methods,
        reason = "a variable of the shell wins over `.env`, as in docker compose"
    )]
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        std::env::var(name)
            .ok()
            .or_else(|| self.file.get(name).cloned())
            .filter(|value| !value.is_empty())
    }

    /// The names in `.env`.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.file.keys().map(String::as_str)
    }

    /// Whether this checkout says that it is no playground: its `.env` or the shell, for neither
    /// takes back what the other says.
    pub(crate) fn is_protected(&self) -> Option<String> {
        let said = [self.get("APP_ENV"), self.file.get("APP_ENV").cloned()];
        said.into_iter()
            .flatten()
            .find(|env| matches!(env.to_lowercase().as_str(), "staging" | "production"))
    }
}

/// Makes `.env` from `.env.example` on the first run. True when it was made now.
pub(crate) fn ensure_file(project: &Project) -> Result<bool> {
    let (path, example) = (
        project.root().join(".env"),
        project.root().join(".env.example"),
    );
    if path.exists() || !example.exists() {
        return Ok(false);
    }
    fs::copy(&example, &path).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(true)
}

/// The names that `.env.example` documents, set there or commented out.
pub(crate) fn documented(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join(".env.example")).unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches(['#', ' ']))
        .collect();
    parse(&lines.join("\n")).into_keys().collect()
}

/// `NAME=value` lines with comments, quotes and an optional `export`.
///
/// Single quotes keep everything; double quotes know `\n`, `\"` and `\\`; a bare value ends at ` #`.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let name = name.trim();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name {
            variables.insert(name.to_owned(), unquote(value.trim()));
        }
    }
    variables
}

fn unquote(value: &str) -> String {
    if let Some(rest) = value.strip_prefix('\'')
        && let Some((inside, _)) = rest.split_once('\'')
    {
        return inside.to_owned();
    }
    if let Some(rest) = value.strip_prefix('"') {
        let mut inside = String::new();
        let mut chars = rest.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => return inside,
                '\\' => match chars.next() {
                    Some('n') => inside.push('\n'),
                    Some(other) => inside.push(other),
                    None => break,
                },
                _ => inside.push(c),
            }
        }
    }
    if value.starts_with('#') {
        return String::new();
    }
    value
        .split(" #")
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_compose_reads_it() {
        let variables = parse(
            "# a comment\r\nAPI_PORT=8000\r\nexport MAIL_FROM=\"Shop <a@b.c> # no comment\" # one\n\
             CORS_ORIGINS='http://x #y'\nEMPTY=\nBARE=a b # c\nNOTHING= # c\nnot a line\n1BAD=x\n",
        );
        let expected = [
            ("API_PORT", "8000"),
            ("BARE", "a b"),
            ("CORS_ORIGINS", "http://x #y"),
            ("EMPTY", ""),
            ("MAIL_FROM", "Shop <a@b.c> # no comment"),
            ("NOTHING", ""),
        ];
        let found: Vec<(&str, &str)> = variables
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unclosed_quote_is_kept_as_it_stands() {
        assert_eq!(unquote("\"open"), "\"open");
        assert_eq!(unquote("'open"), "'open");
    }
}
