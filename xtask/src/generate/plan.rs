//! What is to be written: new files, and lines in files that are there. All is checked before.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::register;
use crate::project::{Project, write_whole};
use crate::terminal;

/// Files by their paths below the checkout, in the order in which they were planned.
pub(super) struct Plan {
    root: PathBuf,
    new: Vec<(String, String)>,
    /// The whole new text, and what was added to it.
    changed: BTreeMap<String, (String, Vec<String>)>,
}

impl Plan {
    /// An empty one.
    pub(super) fn new(project: &Project) -> Self {
        Self {
            root: project.root().to_owned(),
            new: Vec::new(),
            changed: BTreeMap::new(),
        }
    }

    /// A new file. Whether there is one, [`Plan::module_is_free`] tells for all of its kind.
    pub(super) fn file(&mut self, path: &str, text: String) {
        self.new.push((path.to_owned(), text));
    }

    /// A line of a list in a file: `mod x;` or `.register(x::run)`.
    ///
    /// # Errors
    /// When it is there, or the list is not.
    pub(super) fn line(&mut self, path: &str, line: &str) -> Result<()> {
        let add = if line.starts_with('.') {
            register::call
        } else {
            register::module
        };
        self.change(path, line, |text| add(text, line))
    }

    /// A tag in the parts of the OpenAPI document that are written by hand.
    ///
    /// # Errors
    /// When it is there, or no list of tags is.
    pub(super) fn tag(&mut self, path: &str, name: &str, description: &str) -> Result<()> {
        let what = format!("the tag `{name}`");
        self.change(path, &what, |text| register::tag(text, name, description))
    }

    /// Code at the end of a file, before its tests.
    ///
    /// # Errors
    /// When the file is not there.
    pub(super) fn append(&mut self, path: &str, code: &str, what: &str) -> Result<()> {
        self.change(path, what, |text| Ok(register::at_end(text, code)))
    }

    fn change(
        &mut self,
        path: &str,
        what: &str,
        add: impl Fn(&str) -> Result<String>,
    ) -> Result<()> {
        let text = match self.changed.get(path) {
            Some((text, _)) => text.clone(),
            None => fs::read_to_string(self.root.join(path))
                .with_context(|| format!("{path} cannot be read"))?,
        };
        let fresh = add(&text).map_err(|error| {
            anyhow!(
                "{path}: {error}; `{what}` has no place there, and nothing was written\n  \
                 next: git log -p {path}"
            )
        })?;
        let entry = self.changed.entry(path.to_owned()).or_default();
        entry.0 = fresh;
        entry.1.push(what.to_owned());
        Ok(())
    }

    /// Fails when `folder` has this module, as a file or as a folder.
    pub(super) fn module_is_free(&self, folder: &str, name: &str) -> Result<()> {
        for path in [format!("{folder}/{name}.rs"), format!("{folder}/{name}")] {
            if self.root.join(&path).exists() {
                bail!(
                    "{path} is there already, and nothing is overwritten\n  next: take another name"
                );
            }
        }
        Ok(())
    }

    /// Fails when a file of `folder`, or this file, has a type of this name: the OpenAPI document
    /// names schemas for their types, wherever those are, and `jobs.rs` has each payload once.
    pub(super) fn type_is_free(&self, folder: &str, name: &str) -> Result<()> {
        match find_type(&self.root.join(folder), name) {
            None => Ok(()),
            Some(path) => {
                let path = path.strip_prefix(&self.root).unwrap_or(&path);
                bail!(
                    "there is a type `{name}` already, in {}\n  next: take another name",
                    path.display()
                )
            }
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    /// When the system refuses. What was there is whole in any case.
    pub(super) fn write(&self) -> Result<()> {
        for (path, text) in &self.new {
            let path = self.root.join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)
                    .with_context(|| format!("{} cannot be made", folder.display()))?;
            }
            // Never over one that came meanwhile.
            let file = fs::File::create_new(&path);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        for (path, (text, _)) in &self.changed {
            write_whole(&self.root.join(path), text)?;
        }
        Ok(())
    }

    /// What `rustfmt` has to format: of a folder its `mod.rs`, which leads it to the rest. Files in
    /// which only lines were added stay as their authors like them.
    pub(super) fn rust_files(&self) -> Vec<&str> {
        let new = self.new.iter().map(|(path, _)| path.as_str());
        let rust = new.filter(|path| path.ends_with(".rs"));
        rust.chain(
            self.changed
                .contains_key("domain/src/jobs.rs")
                .then_some("domain/src/jobs.rs"),
        )
        .collect()
    }

    /// For people: new files, then changed ones with their lines.
    pub(super) fn table(&self) -> String {
        let cell = |text: &str| (text.to_owned(), None);
        let new = self
            .new
            .iter()
            .map(|(path, _)| vec![("new".to_owned(), Some(terminal::GREEN)), cell(path)]);
        let changed = self.changed.iter().map(|(path, (_, lines))| {
            let lines = lines.join("  ");
            vec![
                ("changed".to_owned(), Some(terminal::YELLOW)),
                cell(path),
                cell(&lines),
            ]
        });
        let rows: Vec<_> = new.chain(changed).collect();
        terminal::table(&["", "file", "adds"], &rows)
    }
}

fn find_type(path: &Path, name: &str) -> Option<PathBuf> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = fs::read_dir(path)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        return entries.iter().find_map(|entry| find_type(entry, name));
    }
    let text = fs::read_to_string(path).ok()?;
    declares(&text, name).then(|| path.to_owned())
}

/// Whether the Rust code declares a struct, an enum or an alias of this name.
fn declares(code: &str, name: &str) -> bool {
    code.lines().any(|line| {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let declares = words.any(|word| matches!(word, "struct" | "enum" | "trait" | "type"));
        declares && words.find(|word| !word.is_empty()) == Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_found_by_its_declaration() {
        for code in [
            "pub(super) struct Page {",
            "pub enum Page<T> {",
            "    struct Page;",
            "pub type Page<'a> = u8;",
        ] {
            assert!(declares(code, "Page"), "{code}");
        }
        for code in [
            "use crate::page::Page;",
            "struct Pages;",
            "// a Page struct",
        ] {
            assert!(!declares(code, "Page"), "{code}");
        }
    }
}
