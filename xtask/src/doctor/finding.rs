//! What one check found.

use super::fix::Fix;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Ok,
    /// Something works less well, or only one of the two modes works.
    Warn,
    /// `up` or `test` would fail.
    Fail,
}

/// One check's result.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    /// What is so, with its cause: a sentence without its full stop.
    pub(super) finding: String,
    /// What would change it, a command where there is one.
    pub(super) remedy: Option<String>,
    /// What `--fix` does about it.
    pub(super) fix: Option<Fix>,
}

impl Finding {
    /// With a remedy that `--fix` knows.
    pub(super) fn fixed_by(self, fix: Fix) -> Self {
        Self {
            fix: Some(fix),
            ..self
        }
    }
}

pub(super) fn ok(name: &'static str, finding: impl Into<String>) -> Finding {
    Finding {
        name,
        severity: Severity::Ok,
        finding: finding.into(),
        remedy: None,
        fix: None,
    }
}

pub(super) fn warn(
    name: &'static str,
    finding: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding {
        severity: Severity::Warn,
        remedy: Some(remedy.into()),
        ..ok(name, finding)
    }
}

pub(super) fn fail(
    name: &'static str,
    finding: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding {
        severity: Severity::Fail,
        ..warn(name, finding, remedy)
    }
}
