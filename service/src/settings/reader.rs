use std::{
    ffi::OsString,
    fmt::{self, Display},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;

use super::variables::{VARIABLES, Variable};

/// Reads settings and remembers everything that is wrong with them.
///
/// Every method answers with a usable value even when the variable is wrong, so that reading goes
/// on to the next one; [`Reader::read`] then returns the problems instead of the settings.
///
/// Each variable is given as `NAME` or as `NAME_FILE`, the path of a file that holds it (the way
/// container secrets arrive; white space at the end is cut off). An empty one counts as unset.
pub struct Reader {
    lookup: Lookup,
    problems: Vec<Problem>,
}

/// Gives the value of a variable, if it is set.
type Lookup = Box<dyn Fn(&str) -> Option<OsString>>;

/// Everything that is wrong with the settings, one line per problem.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<Problem>,
}

#[derive(Debug, PartialEq, Eq)]
struct Problem {
    name: String,
    wrong: String,
    right: String,
}

/// What the environment says about one variable.
enum Raw {
    Unset,
    Given(String),
    /// Unreadable; the problem is already in the list.
    Broken,
}

impl Reader {
    /// A reader of this process's environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// A reader of the given pairs of name and value, for tests.
    pub fn from_pairs<N: Into<String>, V: Into<OsString>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs: std::collections::HashMap<String, OsString> = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self::from_lookup(move |name| pairs.get(name).cloned())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString> + 'static) -> Self {
        Self {
            lookup: Box::new(lookup),
            problems: Vec::new(),
        }
    }

    /// Runs `build` over this reader and gives its settings, if nothing is wrong.
    ///
    /// # Errors
    /// All problems at once, when there is one.
    pub fn read<T>(mut self, build: impl FnOnce(&mut Self) -> T) -> Result<T, SettingsError> {
        let settings = build(&mut self);
        if self.problems.is_empty() {
            Ok(settings)
        } else {
            let problems = self.problems;
            Err(SettingsError { problems })
        }
    }

    /// Records that the variable `name` is `wrong`, and what would be `right`.
    ///
    /// For rules over two variables, or that only the caller knows.
    pub fn problem(&mut self, name: &str, wrong: impl Into<String>, right: impl Into<String>) {
        self.problems.push(Problem {
            name: name.to_owned(),
            wrong: wrong.into(),
            right: right.into(),
        });
    }

    /// A text, or its default.
    pub fn text(&mut self, name: &'static str) -> String {
        self.parsed(name, "a text", |text| Some(text.to_owned()))
    }

    /// A text, or nothing when it is unset.
    pub fn optional_text(&mut self, name: &'static str) -> Option<String> {
        match self.raw(variable(name)) {
            Raw::Given(text) => Some(text),
            Raw::Unset | Raw::Broken => None,
        }
    }

    /// The parts of a text between commas; none when it is unset.
    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        let listed = self.optional_text(name).unwrap_or_default();
        let parts = listed.split(',').map(str::trim);
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(ToOwned::to_owned).collect()
    }

    /// A whole number within `range`, or its default.
    pub fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let right = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(name, &right, |text| {
            text.parse().ok().filter(|number| range.contains(number))
        })
    }

    /// A number of whole seconds within `range`, or its default.
    pub fn seconds(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, range))
    }

    /// What `parse` makes of a variable or of its default; `right` says what it accepts.
    ///
    /// # Panics
    /// When the variable has no default in [`VARIABLES`], or `parse` refuses that default.
    pub fn parsed<T>(
        &mut self,
        name: &'static str,
        right: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let variable = variable(name);
        if let Raw::Given(text) = self.raw(variable) {
            if let Some(value) = parse(&text) {
                return value;
            }
            self.problem(name, format!("{text:?} is not {right}"), "");
        }
        variable
            .default
            .and_then(parse)
            .unwrap_or_else(|| panic!("{name} needs a valid default in VARIABLES"))
    }

    /// A secret of at least `min` characters that is no placeholder; it must be set.
    pub fn secret(&mut self, name: &'static str, min: usize) -> SecretString {
        let problems = self.problems.len();
        if let Some(secret) = self.optional_secret(name, min) {
            return secret;
        }
        if self.problems.len() == problems {
            let right = format!(
                "set it to a random text of at least {min} characters, or {name}_FILE to the path of a file that holds one"
            );
            self.problem(name, "is not set", right);
        }
        SecretString::default()
    }

    /// Secrets as [`Self::secret`], one in each line; there must be one.
    pub fn secrets(&mut self, name: &'static str, min: usize) -> Vec<SecretString> {
        let right = format!(
            "set {name}_FILE to the path of a file with a random text of at least {min} characters in each line"
        );
        let text = match self.raw(variable(name)) {
            Raw::Given(text) => text,
            Raw::Unset => {
                self.problem(name, "is not set", right);
                return Vec::new();
            }
            Raw::Broken => return Vec::new(),
        };
        let mut secrets = Vec::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            let (number, length) = (at + 1, line.chars().count());
            if length == 0 {
                continue;
            }
            // Without the line, which is secret.
            if length < min {
                let wrong = format!("line {number} has only {length} characters");
                self.problem(name, wrong, right.clone());
            } else if is_placeholder(line) {
                let wrong = format!("line {number} looks like a placeholder");
                self.problem(name, wrong, right.clone());
            }
            secrets.push(line.into());
        }
        if secrets.is_empty() {
            self.problem(name, "holds nothing but white space", right);
        }
        secrets
    }

    /// A secret of at least `min` characters that is no placeholder, or nothing when unset.
    pub fn optional_secret(&mut self, name: &'static str, min: usize) -> Option<SecretString> {
        let Raw::Given(text) = self.raw(variable(name)) else {
            return None;
        };
        let length = text.chars().count();
        let right = format!("use a random text of at least {min} characters");
        if length < min {
            self.problem(name, format!("has only {length} characters"), right);
        } else if min > 1 && is_placeholder(&text) {
            self.problem(name, "looks like a placeholder", right);
        }
        Some(text.into())
    }

    fn raw(&mut self, variable: &Variable) -> Raw {
        let name = variable.name;
        let file_name = format!("{name}_FILE");
        let direct = (self.lookup)(name).filter(|text| !text.is_empty());
        let file = (self.lookup)(&file_name).filter(|path| !path.is_empty());
        match (direct, file) {
            (None, None) => Raw::Unset,
            (Some(_), Some(_)) => {
                let wrong = format!("{name} and {file_name} are both set");
                self.problem(name, wrong, "keep one of them");
                Raw::Broken
            }
            (Some(text), None) => text.into_string().map_or_else(
                |_| {
                    self.problem(name, "is not valid UTF-8", "use a UTF-8 text");
                    Raw::Broken
                },
                Raw::Given,
            ),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) if text.trim_end().is_empty() => {
                    let wrong = format!("the file {} is empty", path.display());
                    self.problem(&file_name, wrong, "write the value into it");
                    Raw::Broken
                }
                Ok(text) => Raw::Given(text.trim_end().to_owned()),
                Err(error) => {
                    let wrong = format!("cannot read {}: {error}", path.display());
                    self.problem(&file_name, wrong, "use the path of a readable file");
                    Raw::Broken
                }
            },
        }
    }
}

impl std::error::Error for SettingsError {}

impl Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "1 setting is wrong:")?,
            count => write!(f, "{count} settings are wrong:")?,
        }
        let width = self.problems.iter().map(|p| p.name.len()).max();
        let width = width.unwrap_or_default();
        for Problem { name, wrong, right } in &self.problems {
            write!(f, "\n  {name:width$}  {wrong}")?;
            if !right.is_empty() {
                write!(f, "; {right}")?;
            }
        }
        Ok(())
    }
}

fn variable(name: &'static str) -> &'static Variable {
    VARIABLES
        .iter()
        .find(|variable| variable.name == name)
        .unwrap_or_else(|| panic!("{name} is not in settings::VARIABLES"))
}

/// Whether a secret was copied from an example instead of drawn at random.
///
/// The words have six letters or more, so that a random secret practically never holds one; the
/// count of distinct characters catches `xxxxxxxxxxxxxxxx` and its like.
fn is_placeholder(secret: &str) -> bool {
    const WORDS: [&str; 9] = [
        "changeme",
        "change-me",
        "change_me",
        "change me",
        "placeholder",
        "example",
        "password",
        "replace",
        "secret",
    ];
    let lower = secret.to_lowercase();
    let distinct: std::collections::HashSet<char> = lower.chars().collect();
    distinct.len() < 6 || WORDS.iter().any(|word| lower.contains(word))
}
