//! `migrate status`: each migration of the files or of the database, and where it stands.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::terminal::{self, GREEN, RED, Style, YELLOW};

/// One migration, as `migrate status --json` has it.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) version: u64,
    pub(super) name: String,
    /// `pending`, `applied`, `edited` or `unknown`.
    state: String,
    /// RFC 3339; None when it is pending.
    applied_at: Option<String>,
}

/// Reads what `migrate status --json` printed.
pub(super) fn parse(text: &str) -> Result<Vec<Line>> {
    let lines: Vec<Value> =
        serde_json::from_str(text).context("`migrate status --json` printed no list")?;
    let line = |value: &Value| {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Line {
            version: value["version"].as_u64()?,
            name: text("name")?,
            state: text("state")?,
            applied_at: text("applied_at"),
        })
    };
    let lines = lines.iter().map(line);
    lines
        .collect::<Option<_>>()
        .context("`migrate status --json` printed a line of another kind")
}

/// The one that a revert would take back.
pub(super) fn newest_applied(lines: &[Line]) -> Option<&Line> {
    lines.iter().rev().find(|line| line.applied_at.is_some())
}

/// For people.
pub(super) fn table(lines: &[Line]) -> String {
    let rows: Vec<Vec<(String, Option<Style>)>> = lines
        .iter()
        .map(|line| {
            let (state, style) = match line.state.as_str() {
                "applied" => ("applied", GREEN),
                "pending" => ("pending", YELLOW),
                "edited" => ("edited", RED),
                _ => ("missing file", RED),
            };
            // To the minute: `2026-11-22T15:50:42.5Z`.
            let at = line.applied_at.as_deref().unwrap_or("-");
            let at = at
                .get(..16)
                .map_or(at.to_owned(), |at| at.replace('T', " "));
            vec![
                (line.version.to_string(), None),
                (line.name.clone(), None),
                (state.to_owned(), Some(style)),
                (at, None),
            ]
        })
        .collect();
    terminal::table(&["version", "name", "state", "applied (UTC)"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"[
        {"version": 1, "name": "accounts", "state": "applied", "applied_at": "2026-11-22T15:50:42.5Z"},
        {"version": 2, "name": "gone", "state": "unknown", "applied_at": "2026-11-22T15:50:42Z"},
        {"version": 3, "name": "more", "state": "pending", "applied_at": null}
    ]"#;

    #[test]
    fn each_state_has_its_words() {
        let lines = parse(JSON).unwrap();
        assert_eq!(
            table(&lines),
            "  version   name       state          applied (UTC)\n  \
             1         accounts   applied        2026-11-22 15:50\n  \
             2         gone       missing file   2026-11-22 15:50\n  \
             3         more       pending        -"
        );
        assert_eq!(newest_applied(&lines).unwrap().version, 2);
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for text in ["", "{}", r#"[{"version": "one"}]"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
