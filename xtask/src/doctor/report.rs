//! How findings are shown: a page for people, a document for machines.

use serde_json::{Value, json};

use super::finding::{Finding, Severity};
use crate::terminal::{self, BOLD, DIM, GREEN, RED, Style, YELLOW};

/// Checks about one thing.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) findings: Vec<Finding>,
}

/// How many findings are as bad as this.
pub(super) fn count(groups: &[Group], severity: Severity) -> usize {
    groups
        .iter()
        .flat_map(|group| &group.findings)
        .filter(|finding| finding.severity == severity)
        .count()
}

/// The document of `doctor --json`.
pub(super) fn document(groups: &[Group]) -> String {
    let of_group = |group: &Group| {
        let of_finding = |finding: &Finding| {
            json!({
                "group": group.title,
                "name": finding.name,
                "status": word(finding.severity),
                "finding": finding.finding,
                "remedy": finding.remedy,
                "fixable": finding.fix.is_some(),
            })
        };
        group.findings.iter().map(of_finding).collect::<Vec<_>>()
    };
    let checks: Vec<Value> = groups.iter().flat_map(of_group).collect();
    format!("{:#}", json!({ "checks": checks }))
}

/// The page for people: a line per check, with its remedy below where it needs one.
pub(super) fn page(groups: &[Group]) -> String {
    let all = || groups.iter().flat_map(|group| &group.findings);
    let width = all().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for group in groups.iter().filter(|group| !group.findings.is_empty()) {
        lines.push(terminal::paint(BOLD, group.title));
        for finding in &group.findings {
            let (mark, style) = mark(finding.severity);
            lines.push(format!(
                "  {}  {:<width$}  {}",
                terminal::paint(style, mark),
                finding.name,
                finding.finding
            ));
            if let Some(remedy) = &finding.remedy {
                let gap = " ".repeat(width + 8);
                lines.push(format!("  {gap}{} {remedy}", terminal::paint(DIM, "next:")));
            }
        }
        lines.push(String::new());
    }
    lines.push(closing(groups));
    lines.join("\n")
}

/// One line that says how it stands.
fn closing(groups: &[Group]) -> String {
    let all: usize = groups.iter().map(|group| group.findings.len()).sum();
    let (warnings, failures) = (count(groups, Severity::Warn), count(groups, Severity::Fail));
    let fixable = groups
        .iter()
        .flat_map(|group| &group.findings)
        .any(|finding| finding.fix.is_some() && finding.severity != Severity::Ok);
    let fix = if fixable {
        "; `cargo xtask doctor --fix` mends what it can"
    } else {
        ""
    };
    match (failures, warnings) {
        (0, 0) => terminal::paint(GREEN, &format!("All {all} checks are well.")),
        (0, warnings) => format!(
            "{} of {all} checks; nothing keeps `up` from working{fix}.",
            terminal::paint(YELLOW, &counted(warnings, "warning"))
        ),
        (failures, 0) => format!(
            "{} of {all} checks{fix}.",
            terminal::paint(RED, &counted(failures, "failure"))
        ),
        (failures, warnings) => format!(
            "{} and {} of {all} checks{fix}.",
            terminal::paint(RED, &counted(failures, "failure")),
            terminal::paint(YELLOW, &counted(warnings, "warning"))
        ),
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A finding as `up` says it.
pub(super) fn sentence(finding: &Finding) -> String {
    let remedy = finding.remedy.as_deref().unwrap_or("`cargo xtask doctor`");
    format!("{}: {}\n  next: {remedy}", finding.name, finding.finding)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Warn => "warn",
        Severity::Fail => "fail",
    }
}

/// As wide as each other.
fn mark(severity: Severity) -> (&'static str, Style) {
    match severity {
        Severity::Ok => ("ok  ", GREEN),
        Severity::Warn => ("warn", YELLOW),
        Severity::Fail => ("FAIL", RED),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{fail, ok, warn};
    use super::super::fix::Fix;
    use super::*;

    fn groups() -> Vec<Group> {
        let findings = vec![
            ok("a", "fine"),
            fail("broken", "it is broken", "mend it").fixed_by(Fix::SecretModes),
        ];
        vec![Group {
            title: "One",
            findings,
        }]
    }

    #[test]
    fn the_document_carries_cause_and_remedy() {
        let document: Value = serde_json::from_str(&document(&groups())).unwrap();
        let [fine, broken] = [&document["checks"][0], &document["checks"][1]];
        assert_eq!(
            *fine,
            json!({"group": "One", "name": "a", "status": "ok", "finding": "fine",
                "remedy": null, "fixable": false})
        );
        assert_eq!(
            (&broken["remedy"], &broken["fixable"]),
            (&json!("mend it"), &json!(true))
        );
    }

    #[test]
    fn the_page_is_aligned_and_closes_with_one_line() {
        assert_eq!(
            page(&groups()),
            "One\n  ok    a       fine\n  FAIL  broken  it is broken\n                \
             next: mend it\n\n1 failure of 2 checks; `cargo xtask doctor --fix` mends what it can."
        );
    }

    #[test]
    fn the_closing_line_says_how_it_stands() {
        let of = |findings| {
            closing(&[Group {
                title: "",
                findings,
            }])
        };
        assert_eq!(of(vec![ok("a", "")]), "All 1 checks are well.");
        assert_eq!(
            of(vec![ok("a", ""), warn("b", "", "")]),
            "1 warning of 2 checks; nothing keeps `up` from working."
        );
        assert_eq!(
            of(vec![fail("a", "", ""), warn("b", "", "")]),
            "1 failure and 1 warning of 2 checks."
        );
    }
}
