//! The syntax of `.env`, as `docker compose` reads it.
//!
//! Compose has a reader of its own, described at
//! <https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/#env-file-syntax>.
//! A line that the two might read differently is a [`Problem`] and never a guess: what removes data
//! asks this file whether that is allowed.

use std::collections::BTreeMap;
use std::fmt;

/// A line that is no setting, or that this reader does not take as Compose does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Counted from 1. None when the file as a whole cannot be read.
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
    /// What to write instead.
    pub(crate) remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// What is wrong with a value, and what to write instead.
type Wrong = (String, &'static str);

const LITERAL: &str = "put the value between single quotes, which keep everything as it is";

/// Reads `NAME=value` and `NAME: value` lines with comments, quotes and an optional `export`.
///
/// Single quotes keep everything; double quotes know escapes. Both may span lines. A bare value ends
/// at ` #`. In all but single quotes, `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME-default}`
/// stand for what `shell` says, or else for an earlier line. The line after a problem is read on.
pub(crate) fn parse(
    text: &str,
    shell: impl Fn(&str) -> Option<String>,
) -> (BTreeMap<String, String>, Vec<Problem>) {
    let mut variables = BTreeMap::new();
    let mut problems = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let number = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let line = rest.split('\n').next().unwrap_or_default();
        let statement = line.trim_ascii();
        // What comes behind it when it is well, and when it is not.
        let next_line = rest.get(line.len() + 1..).unwrap_or_default();
        if statement.is_empty() || statement.starts_with('#') {
            rest = next_line;
            continue;
        }
        let look_up = |name: &str| shell(name).or_else(|| variables.get(name).cloned());
        match setting(rest, line, look_up) {
            Ok((name, value, behind)) => {
                variables.insert(name, value);
                rest = behind;
            }
            Err((what, remedy)) => {
                problems.push(Problem {
                    line: Some(number),
                    what,
                    remedy: remedy.to_owned(),
                });
                rest = next_line;
            }
        }
    }
    (variables, problems)
}

/// The setting that `text` begins with, and what comes behind its last line. `line` is the first.
fn setting<'a>(
    text: &'a str,
    line: &str,
    look_up: impl Fn(&str) -> Option<String>,
) -> Result<(String, String, &'a str), Wrong> {
    let shown = line.trim();
    let Some(separator) = line.find(['=', ':']) else {
        let what = format!("`{shown}` is no setting: it has no `=`");
        return Err((what, "write NAME=value, or `#` in front of it"));
    };
    let name = line[..separator].trim_ascii();
    let exported = name.strip_prefix("export").map(str::trim_ascii_start);
    let name = match exported {
        Some(exported) if exported.len() < name.len() - "export".len() => exported,
        _ => name,
    };
    if !is_name(name) {
        let what = format!("`{shown}` is no setting: `{name}` is no name of a variable");
        return Err((what, "write NAME=value, or `#` in front of it"));
    }
    let value = text[separator + 1..].trim_start_matches([' ', '\t']);
    let (value, behind) = match value.chars().next() {
        Some(quote @ ('\'' | '"')) => quoted(&value[1..], quote, look_up)?,
        _ => bare(value, look_up)?,
    };
    Ok((name.to_owned(), value, behind))
}

/// Whether it is a name as a shell takes it.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_in_name)
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn bare(text: &str, look_up: impl Fn(&str) -> Option<String>) -> Result<(String, &str), Wrong> {
    let (value, behind) = text.split_once('\n').unwrap_or((text, ""));
    if value.starts_with('#') {
        let what = "the value begins with `#`, which begins no comment there".to_owned();
        return Err((
            what,
            "put the comment on a line of its own, or quotes around the value",
        ));
    }
    let value = value
        .split(" #")
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    // Compose takes other blanks for the ends of names and values, and not always the same.
    if let Some(odd) = value
        .chars()
        .find(|c| *c != ' ' && *c != '\t' && is_blank(*c))
    {
        let what = format!(
            "a character that cannot be seen, {}, is in the value",
            odd.escape_unicode()
        );
        return Err((what, "remove it"));
    }
    Ok((expanded(value, look_up)?, behind))
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// `text` begins behind the opening quote.
fn quoted(
    text: &str,
    quote: char,
    look_up: impl Fn(&str) -> Option<String>,
) -> Result<(String, &str), Wrong> {
    let mut value = String::new();
    // The part since the last escape: what an escape stands for is not expanded.
    let mut part = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            value.push_str(&match quote {
                '"' => expanded(&part, &look_up)?,
                _ => part,
            });
            let (rest, behind) = text[at + 1..]
                .split_once('\n')
                .unwrap_or((&text[at + 1..], ""));
            let rest = rest.trim_ascii();
            if !rest.is_empty() && !rest.starts_with('#') {
                let what = format!("`{rest}` stands behind the closing quote");
                return Err((what, "write it on a line of its own, or `#` in front of it"));
            }
            return Ok((value, behind));
        }
        if c != '\\' {
            part.push(c);
            continue;
        }
        let escaped = chars.next().map(|(_, escaped)| escaped);
        if quote == '\'' {
            // Only the quote itself.
            if escaped != Some('\'') {
                part.push('\\');
            }
            part.extend(escaped);
            continue;
        }
        value.push_str(&expanded(&part, &look_up)?);
        part.clear();
        value.push(match escaped {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(c @ ('"' | '\\' | '$')) => c,
            _ => {
                return Err((
                    "a `\\` stands for nothing there".to_owned(),
                    "write `\\\\` for one",
                ));
            }
        });
    }
    Err((format!("a {quote} is opened and never closed"), "close it"))
}

/// The text with the variables that it names. One that is nowhere set is a problem: Compose would
/// take it for empty.
fn expanded(text: &str, look_up: impl Fn(&str) -> Option<String>) -> Result<String, Wrong> {
    let mut parts = text.split('$');
    let mut value = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let unclear = || {
            (
                format!("`${part}` is no variable that is read here"),
                LITERAL,
            )
        };
        let (name, default, behind) = match part.strip_prefix('{') {
            Some(braced) => {
                let (inside, behind) = braced.split_once('}').ok_or_else(unclear)?;
                let end = inside.find(|c| !is_in_name(c)).unwrap_or(inside.len());
                let (name, default) = inside.split_at(end);
                (name, Some(default), behind)
            }
            None => {
                let end = part.find(|c| !is_in_name(c)).unwrap_or(part.len());
                (&part[..end], None, &part[end..])
            }
        };
        if !is_name(name) {
            return Err(unclear());
        }
        let default = default.filter(|default| !default.is_empty());
        let found = look_up(name);
        let found =
            match default.map(|default| (default.strip_prefix(":-"), default.strip_prefix('-'))) {
                None => found,
                Some((Some(default), _)) => found
                    .filter(|value| !value.is_empty())
                    .or_else(|| Some(default.to_owned())),
                Some((None, Some(default))) => found.or_else(|| Some(default.to_owned())),
                Some((None, None)) => return Err(unclear()),
            };
        value.push_str(&found.ok_or_else(|| (format!("`${name}` is set nowhere"), LITERAL))?);
        value.push_str(behind);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("shell".to_owned()),
            "NOTHING" => Some(String::new()),
            _ => None,
        }
    }

    /// The values as `docker compose config` shows them.
    #[test]
    fn a_file_is_read_as_compose_reads_it() {
        let text = "\u{feff}FIRST=1\n# a comment\r\nAPI_PORT=8000\r\n\
             export MAIL_FROM=\"Shop <a@b.c> # no comment\" # one\n\
             CORS_ORIGINS='http://x #y'\nEMPTY=\nBARE=a b # c\nYAML: of=another\nSPACED = x\n\
             LINES=\"one\ntwo\" # c\nALSO='$HOST\n\\'two\\n'\nESCAPED=\"\\t\\\"\\$HOST\\\\\"\nHASH=a#b\n\
             ONE=$HOST-${FIRST}\nTWO=\"${NOTHING:-x y}${NOTHING-z}${NONE-w}\"\nTHREE=${API_PORT}1";
        let expected = [
            ("ALSO", "$HOST\n'two\\n"),
            ("API_PORT", "8000"),
            ("BARE", "a b"),
            ("CORS_ORIGINS", "http://x #y"),
            ("EMPTY", ""),
            ("ESCAPED", "\t\"$HOST\\"),
            ("FIRST", "1"),
            ("HASH", "a#b"),
            ("LINES", "one\ntwo"),
            ("MAIL_FROM", "Shop <a@b.c> # no comment"),
            ("ONE", "shell-1"),
            ("SPACED", "x"),
            ("THREE", "80001"),
            ("TWO", "x yw"),
            ("YAML", "of=another"),
        ];
        let (variables, problems) = parse(text, shell);
        assert_eq!(problems, []);
        let found: Vec<(&str, &str)> = variables
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_compose_reads_otherwise_is_named_with_its_line() {
        for (line, what) in [
            (
                "1BAD=x",
                "`1BAD=x` is no setting: `1BAD` is no name of a variable",
            ),
            (
                "A B=x",
                "`A B=x` is no setting: `A B` is no name of a variable",
            ),
            ("API_PORT", "`API_PORT` is no setting: it has no `=`"),
            (
                "A= # c",
                "the value begins with `#`, which begins no comment there",
            ),
            ("A=\"open", "a \" is opened and never closed"),
            ("A='x' B=y", "`B=y` stands behind the closing quote"),
            ("A=\"\\q\"", "a `\\` stands for nothing there"),
            ("A=$NONE", "`$NONE` is set nowhere"),
            ("A=x$", "`$` is no variable that is read here"),
            ("A=$$x", "`$` is no variable that is read here"),
            (
                "A=${HOST:?gone}",
                "`${HOST:?gone}` is no variable that is read here",
            ),
            (
                "A=x\u{a0}y",
                "a character that cannot be seen, \\u{a0}, is in the value",
            ),
        ] {
            let (variables, problems) = parse(&format!("X='1\n2'\n{line}\nY=2\n"), shell);
            let said: Vec<String> = problems.iter().map(Problem::to_string).collect();
            assert_eq!(said, [format!("line 3: {what}")]);
            let names: Vec<&String> = variables.keys().collect();
            assert_eq!(names, ["X", "Y"], "{line:?}: the others are read on");
        }
    }
}
