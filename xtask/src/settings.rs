//! What the developer set: the shell's environment first, then `.env`.
//!
//! The same order and the same syntax as `docker compose`, so that a line of `.env` means the same
//! in both modes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::dotenv::{self, Problem};
use crate::project::{Project, no_access};

/// The one environment whose data may go.
const PLAYGROUND: &str = "development";

/// The variables of `.env`, and the way to look one up.
pub(crate) struct Settings {
    file: BTreeMap<String, String>,
}

impl Settings {
    /// Reads `.env` of the checkout; none there is the same as an empty one.
    ///
    /// # Errors
    /// Names the lines that cannot be read as Compose reads them: nobody acts on half of a file.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let (settings, problems) = Self::examine(root);
        let Some(first) = problems.first() else {
            return Ok(settings);
        };
        let all: Vec<String> = problems.iter().map(Problem::to_string).collect();
        bail!(
            ".env cannot be read as Docker Compose reads it: {}\n  next: {}",
            all.join("; "),
            first.remedy
        );
    }

    /// What can be read of `.env`, and what cannot.
    pub(crate) fn examine(root: &Path) -> (Self, Vec<Problem>) {
        let (text, unreadable) = match read(&root.join(".env")) {
            Ok(text) => (text, None),
            Err(problem) => (String::new(), Some(problem)),
        };
        let (file, problems) = dotenv::parse(&text, of_the_shell);
        let problems = unreadable.into_iter().chain(problems).collect();
        (Self { file }, problems)
    }

    /// The variable's value; an empty one counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        of_the_shell(name)
            .or_else(|| self.file.get(name).cloned())
            .filter(|value| !value.is_empty())
    }

    /// The names in `.env`.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.file.keys().map(String::as_str)
    }

    /// The environment that this checkout says it is, unless that is a playground: its `.env` or the
    /// shell, for neither takes back what the other says. A word that nobody knows may mean anything.
    pub(crate) fn is_protected(&self) -> Option<String> {
        let said = [self.file.get("APP_ENV").cloned(), of_the_shell("APP_ENV")];
        said.into_iter()
            .flatten()
            .find(|environment| !environment.is_empty() && environment != PLAYGROUND)
    }
}

/// The file's text, without what cannot be.
fn read(path: &Path) -> Result<String, Problem> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(Problem {
                line: None,
                what: format!("it cannot be opened: {error}"),
                remedy: "`sudo chown \"$(id -u)\" .env && chmod 600 .env`".to_owned(),
            });
        }
    };
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Problem {
            line: Some(before.split(|byte| *byte == b'\n').count()),
            what: "it is not UTF-8".to_owned(),
            remedy: "save .env as UTF-8 in your editor".to_owned(),
        }
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a variable of the shell wins over `.env`, as in docker compose"
)]
fn of_the_shell(name: &str) -> Option<String> {
    // Lossy: what is no UTF-8 is still something that was set.
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
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
    fs::copy(&example, &path).map_err(|error| no_access(&path, &error))?;
    Ok(true)
}

/// The names that `.env.example` documents, set there or commented out.
pub(crate) fn documented(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join(".env.example")).unwrap_or_default();
    let names = text.lines().filter_map(|line| {
        let (name, _) = line.trim_start_matches(['#', ' ']).split_once('=')?;
        dotenv::is_name(name).then(|| name.to_owned())
    });
    // Each once, in alphabetical order.
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Option<Settings> {
        let (file, problems) = dotenv::parse(text, |_| None);
        problems.is_empty().then_some(Settings { file })
    }

    /// Whether what removes data is refused.
    fn is_refused(text: &str) -> bool {
        settings(text).is_none_or(|settings| settings.is_protected().is_some())
    }

    #[test]
    fn only_a_playground_is_unprotected() {
        for text in [
            "",
            "APP_ENV=",
            "APP_ENV=''",
            "APP_ENV=development # mine",
            "# APP_ENV=production",
        ] {
            assert!(!is_refused(text), "{text:?}");
        }
        for word in [
            "staging",
            "production",
            "Production",
            "prod",
            "live",
            "Development",
            "developmentx",
        ] {
            assert!(is_refused(&format!("APP_ENV={word}")), "{word:?}");
        }
    }

    /// Every way to write it that Compose takes for production, and every one that it refuses.
    #[test]
    fn no_way_to_write_production_is_unprotected() {
        let before = [
            "",
            "\u{feff}",
            "\r\n",
            "# c\n",
            "API_PORT=1\r\n",
            "A='x\ny' ",
            "A=\"x\" ",
            "A=\"x\"",
            "A='open\n",
            "APP_ENV=development\n",
            "no line\n",
            "A=\\\n",
        ];
        let names = [
            "APP_ENV",
            "export APP_ENV",
            "export\tAPP_ENV",
            "  APP_ENV",
            "\tAPP_ENV ",
            "APP_ENV\t",
        ];
        let separators = ["=", " = ", ":", ": ", "=\t"];
        let values = [
            "production",
            "\"production\"",
            "'production'",
            "\"pro\\duction\"",
            "${STAGE}",
            "$STAGE",
            "\"$STAGE\"",
            "${NONE:-production}",
            "${NONE-production}",
            "${STAGE:-development}",
            "${STAGE:+production}",
            "${NONE:-${STAGE}}",
            "production\\",
            "=production",
            "#production",
            "$production",
            "${production}",
            "\"production",
            "'production",
            "\"development\"production",
            "development\u{85}production",
            "development\rproduction",
            "production$",
            "\"\nproduction\"",
        ];
        let after = [
            "",
            "\n",
            "\r\n",
            " # c\n",
            " \t\n",
            "\n\nAPI_PORT=1\n",
            "\nAPP ENV=development\n",
        ];
        let mut ways = vec![String::new()];
        for parts in [&before[..], &names, &separators, &values, &after] {
            let longer = ways
                .iter()
                .flat_map(|way| parts.iter().map(move |part| format!("{way}{part}")));
            ways = longer.collect();
        }
        for way in ways {
            // A byte order mark is one only at the very beginning.
            let (mark, way) = way.split_at(if way.starts_with('\u{feff}') { 3 } else { 0 });
            let text = format!("{mark}STAGE=production\n{way}");
            assert!(is_refused(&text), "{text:?}");
        }
    }

    #[test]
    fn no_character_too_many_takes_the_protection_away() {
        let line = "APP_ENV=production\n";
        let odd = "\0\t\n\r\u{b} \"#$'-.:=[\\]`{}\u{85}\u{a0}\u{2003}\u{200b}\u{feff}é";
        for at in 0..=line.len() {
            for c in odd.chars() {
                let mut text = line.to_owned();
                text.insert(at, c);
                // A comment says nothing, and neither does another variable: `A=PP_ENV=production`.
                let is_another = matches!(c, '=' | ':') && at < 7;
                assert!(
                    is_refused(&text) || text.starts_with('#') || is_another,
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn a_file_that_is_no_text_names_the_line() {
        let root = std::env::temp_dir().join(format!("slipway-settings-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join(".env"), b"API_PORT=1\nMAIL_FROM=caf\xe9\n").unwrap();
        let error = Settings::load(&root).err().unwrap().to_string();
        assert!(
            error.contains("line 2: it is not UTF-8\n  next: save"),
            "{error}"
        );
        fs::remove_dir_all(root).unwrap();
    }
}
