//! The page about troubles quotes this command: its words have to be the command's.

use std::fs;
use std::path::Path;

/// All Rust files below a folder, as the program has their texts: without the backslash that joins
/// two lines of a literal, and with `{...}` for what is put in.
fn literals(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            literals(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let mut lines = fs::read_to_string(&path).unwrap();
            while let Some((before, after)) = lines.split_once("\\\n") {
                lines = format!("{before}{}", after.trim_start());
            }
            text.push_str(&lines);
        }
    }
}

#[test]
fn the_page_about_troubles_says_what_the_command_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let section = page.split("\n## ").nth(1).unwrap();
    let mut sources = String::new();
    for folder in ["xtask/src", "migrations/src"] {
        literals(&root.join(folder), &mut sources);
    }
    let mut quotes = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let first = row.split(" | ").next().unwrap();
        for quote in first.split('`').skip(1).step_by(2) {
            quotes += 1;
            for part in quote
                .split("...")
                .map(str::trim)
                .filter(|part| part.len() > 3)
            {
                assert!(sources.contains(part), "nobody says {part:?}, of {quote:?}");
            }
        }
    }
    assert!(quotes > 25, "only {quotes} were found");
}
