//! Where a new thing is registered: a line in a list that is there. Texts in, texts out.

use anyhow::{Context, Result, bail};

/// Adds `mod x;` or `pub mod x;` to the list of modules, in the order of their names.
///
/// # Errors
/// When the module is in the list, or there is no list.
pub(super) fn module(text: &str, line: &str) -> Result<String> {
    let name = module_name(line);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines
        .iter()
        .position(|line| module_name(line).is_some())
        .context("it has no list of modules")?;
    let list = lines[first..].iter();
    let list: Vec<_> = list.map_while(|line| module_name(line)).collect();
    if list.iter().any(|one| Some(*one) == name) {
        bail!("`{line}` is there already");
    }
    let before = list.iter().position(|one| Some(*one) > name);
    Ok(inserted(&lines, first + before.unwrap_or(list.len()), line))
}

/// The name in `mod x;`, whatever it is visible to.
fn module_name(line: &str) -> Option<&str> {
    let line = line.strip_suffix(';')?;
    let (visible, name) = line.rsplit_once("mod ")?;
    let is_list = visible.is_empty() || visible.starts_with("pub");
    is_list.then_some(name)
}

/// Adds `.register(x::run)` or `.merge(x::router())` behind the last call of this method.
///
/// # Errors
/// When this very call is there, or none is.
pub(super) fn call(text: &str, line: &str) -> Result<String> {
    let lines: Vec<&str> = text.lines().collect();
    if lines.iter().any(|one| one.trim() == line) {
        bail!("`{line}` is there already");
    }
    let method = line.split_inclusive('(').next().unwrap_or(line);
    let last = lines
        .iter()
        .rposition(|one| one.trim_start().starts_with(method))
        .with_context(|| format!("it has no call `{method}...)`"))?;
    let indent = lines[last].len() - lines[last].trim_start().len();
    let line = format!("{}{line}", " ".repeat(indent));
    Ok(inserted(&lines, last + 1, &line))
}

/// Adds a tag to `"tags"`, before the last one, which is about the service itself.
///
/// # Errors
/// When there is such a tag, or no list.
pub(super) fn tag(text: &str, name: &str, description: &str) -> Result<String> {
    let lines: Vec<&str> = text.lines().collect();
    let start = format!("    {{ \"name\": \"{name}\",");
    if lines.iter().any(|line| line.starts_with(&start)) {
        bail!("the tag `{name}` is there already");
    }
    let first = lines
        .iter()
        .position(|line| line.trim() == "\"tags\": [")
        .context("it has no list of tags")?;
    let length = lines[first..]
        .iter()
        .position(|line| line.trim() == "],")
        .filter(|length| *length > 1)
        .context("its list of tags has no end")?;
    let line = format!("{start} \"description\": \"{description}\" }},");
    Ok(inserted(&lines, first + length - 1, &line))
}

/// Adds code to a module: at its end, but before its tests.
pub(super) fn at_end(text: &str, code: &str) -> String {
    match text.split_once("\n#[cfg(test)]") {
        Some((shipped, tests)) => {
            format!("{}\n{code}\n#[cfg(test)]{tests}", shipped.trim_end())
        }
        None => format!("{}\n{code}", text.trim_end()),
    }
}

fn inserted(lines: &[&str], at: usize, line: &str) -> String {
    let (before, after) = lines.split_at(at);
    let all = before.iter().chain([&line]).chain(after);
    all.flat_map(|line| [*line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_where_rustfmt_would_put_it() {
        let text = "//! Doc.\n\npub mod accounts;\nmod age;\npub mod jobs;\n\npub use x::Y;\n";
        let with = |line| module(text, line).unwrap();
        assert!(with("pub mod bills;").contains("mod age;\npub mod bills;\npub mod jobs;"));
        assert!(with("mod a;").contains("\nmod a;\npub mod accounts;"));
        assert!(with("mod z;").contains("pub mod jobs;\nmod z;\n\npub use"));
        assert!(module(text, "mod age;").is_err() && module("fn x() {}\n", "mod y;").is_err());
    }

    #[test]
    fn a_call_comes_behind_the_last_of_its_kind() {
        let text = "    Registry::new()\n        .register(a::run)\n        .register(z::run)\n        \
                    .schedule(x)\n";
        let with = call(text, ".register(m::run)").unwrap();
        assert!(with.contains("(z::run)\n        .register(m::run)\n        .schedule"));
        assert!(call(text, ".register(a::run)").is_err() && call(text, ".merge(b)").is_err());
    }

    #[test]
    fn a_tag_keeps_the_document_json() {
        let text = "{\n  \"tags\": [\n    { \"name\": \"a\", \"description\": \"A.\" },\n    \
                    { \"name\": \"service\", \"description\": \"S.\" }\n  ],\n  \"paths\": {}\n}\n";
        let with = tag(text, "order lines", "Lines.").unwrap();
        let json: serde_json::Value = serde_json::from_str(&with).unwrap();
        let names: Vec<_> = json["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| &tag["name"])
            .collect();
        assert_eq!(names, ["a", "order lines", "service"]);
        assert!(tag(text, "a", "A.").is_err() && tag("{}", "b", "B.").is_err());
    }

    #[test]
    fn code_comes_before_the_tests() {
        assert_eq!(at_end("a\n", "\nb\n"), "a\n\nb\n");
        assert_eq!(
            at_end("a\n\n#[cfg(test)]\nmod tests;\n", "\nb\n"),
            "a\n\nb\n\n#[cfg(test)]\nmod tests;\n"
        );
    }
}
