//! `docker/stack.yml`, as far as it has to be understood: its variables, its files, its services.
//!
//! Read line by line. The file that is cut into stages is what `docker stack config` prints, whose
//! form is always the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::commands::FILE;
use crate::project::{Project, hash};

/// What the file says about what has to be there before.
pub(super) struct StackFile {
    text: String,
    folder: PathBuf,
}

/// A variable without which nothing can be deployed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Required {
    pub(super) name: String,
    /// What it is, in the file's words.
    pub(super) meaning: String,
}

impl StackFile {
    pub(super) fn read(project: &Project) -> Result<Self> {
        let path = project.root().join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("{FILE} cannot be read"))?;
        let folder = path.parent().unwrap_or(project.root()).to_owned();
        Ok(Self { text, folder })
    }

    /// The variables that are set, in the shell or in `.env`, which `docker stack` does not read;
    /// and the versions of secrets and configs.
    pub(super) fn environment(&self, project: &Project) -> Result<Vec<(String, String)>> {
        let settings = project.settings()?;
        let mut environment: Vec<(String, String)> = variables(&self.text)
            .into_iter()
            .filter_map(|name| settings.get(&name).map(|value| (name, value)))
            .collect();
        for (name, section) in [
            ("SECRETS_VERSION", "secrets"),
            ("CONFIGS_VERSION", "configs"),
        ] {
            if settings.get(name).is_none() {
                environment.push((name.to_owned(), self.version(section)));
            }
        }
        Ok(environment)
    }

    /// Secrets and configs cannot be changed once made, so their names carry this: 32 bits of a
    /// hash over all files of the section. It changes when one of them does, and tells nothing of
    /// them: they are 285 random bits each.
    fn version(&self, section: &str) -> String {
        let mut all = String::new();
        for path in self.files(section) {
            let text = fs::read_to_string(path).unwrap_or_default();
            all.push_str(&format!("{} {text}", text.len()));
        }
        let hash = hash(&all);
        format!("{:08x}", (hash ^ (hash >> 32)) & 0xffff_ffff)
    }

    /// Variables that must be set: `${NAME:?meaning}`.
    pub(super) fn required(&self) -> Vec<Required> {
        let mut required: Vec<Required> = Vec::new();
        for found in code(&self.text).split("${").skip(1) {
            let inside = found.split('}').next().unwrap_or_default();
            if let Some((name, meaning)) = inside.split_once(":?")
                && required.iter().all(|one| one.name != name)
            {
                required.push(Required {
                    name: name.to_owned(),
                    meaning: meaning.to_owned(),
                });
            }
        }
        required
    }

    /// The files of `secrets:` or `configs:`.
    pub(super) fn files(&self, section: &str) -> Vec<PathBuf> {
        let heading = format!("{section}:");
        let lines = self.text.lines().skip_while(|line| *line != heading);
        let lines = lines
            .skip(1)
            .take_while(|line| !line.starts_with(|c: char| c.is_alphabetic()));
        lines
            .filter_map(|line| line.split_once("file: "))
            .map(|(_, rest)| self.folder.join(rest.trim_end_matches('}').trim()))
            .collect()
    }
}

/// The file without its comments.
fn code(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Every variable that the file reads.
fn variables(text: &str) -> BTreeSet<String> {
    let text = code(text).replace("$$", "");
    let names = text.split("${").skip(1);
    names
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect()
        })
        .filter(|name: &String| !name.is_empty())
        .collect()
}

/// The services' names in what `docker stack config` prints.
pub(super) fn services(config: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in config.lines() {
        if !line.starts_with(' ') {
            inside = line == "services:";
        } else if inside && let Some(name) = service(line) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The name, if a service begins in this line.
fn service(line: &str) -> Option<&str> {
    let name = line.strip_prefix("  ")?.strip_suffix(':')?;
    (!name.starts_with([' ', '-', '#'])).then_some(name)
}

/// What `docker stack config` printed, with these services alone, to be read by `docker stack
/// deploy`: a `$` that is left is one, and no variable.
pub(super) fn with_services(config: &str, wanted: &[String]) -> String {
    let mut text = String::new();
    let (mut inside, mut kept) = (false, true);
    for line in config.lines() {
        if !line.starts_with(' ') {
            inside = line == "services:";
            kept = true;
        } else if inside && let Some(name) = service(line) {
            kept = wanted.iter().any(|one| one == name);
        }
        if kept {
            text.push_str(&line.replace('$', "$$"));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const CONFIG: &str = "version: \"3.13\"\nservices:\n  api:\n    image: x\n    command:\n      - \
                          sh\n  migrate:\n    image: x\n  proxy:\n    command: echo ${A}\nsecrets:\n  \
                          api:\n    file: /s\n";

    fn ours() -> StackFile {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        StackFile::read(&Project::at(&root).unwrap()).unwrap()
    }

    #[test]
    fn a_stage_has_its_services_and_everything_else() {
        assert_eq!(services(CONFIG), ["api", "migrate", "proxy"]);
        let stage = with_services(CONFIG, &["migrate".to_owned()]);
        assert_eq!(services(&stage), ["migrate"]);
        assert!(
            stage.contains("secrets:\n  api:\n    file: /s\n"),
            "{stage}"
        );
        assert!(with_services(CONFIG, &["proxy".to_owned()]).contains("echo $${A}"));
    }

    #[test]
    fn the_stack_says_what_it_needs() {
        let file = ours();
        let required: Vec<String> = file.required().into_iter().map(|one| one.name).collect();
        assert!(
            required.contains(&"SLIPWAY_IMAGE".to_owned()),
            "{required:?}"
        );
        assert!(required.contains(&"PUBLIC_URL".to_owned()), "{required:?}");
        let secrets = file.files("secrets");
        assert!(
            secrets
                .iter()
                .any(|path| path.ends_with("secrets/jwt_secret")),
            "{secrets:?}"
        );
        let configs = file.files("configs");
        assert!(
            configs.iter().all(|path| path.is_file()) && configs.len() > 2,
            "{configs:?}"
        );
    }

    #[test]
    fn variables_are_those_that_are_read() {
        let text = "# ${COMMENT}\na: ${A:-1}\nb: ${B:?what it is}\nc: $${C}\n";
        assert_eq!(variables(text), ["A", "B"].map(str::to_owned).into());
    }

    #[test]
    fn a_version_changes_with_what_is_in_the_files() {
        let folder = std::env::temp_dir().join(format!("stack-file-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = StackFile {
            text: "secrets:\n  a: { file: a }\n  b: { file: b }\n".to_owned(),
            folder: folder.clone(),
        };
        let mut versions = BTreeSet::new();
        for (a, b) in [("one", "two"), ("one", "three"), ("onet", "wo")] {
            fs::write(folder.join("a"), a).unwrap();
            fs::write(folder.join("b"), b).unwrap();
            assert!(versions.insert(file.version("secrets")), "{a} {b}");
            assert!(
                !versions.insert(file.version("secrets")),
                "it stays the same"
            );
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
