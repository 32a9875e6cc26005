//! What comes out of a build, as cargo's messages tell it (`--message-format=json`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

/// The binaries of one build, or of several of which only the last went through.
#[derive(Debug, Default)]
pub(crate) struct Artifacts {
    /// Where each lies, by its name.
    pub(crate) binaries: BTreeMap<String, PathBuf>,
    /// Those that were made anew.
    pub(crate) new: BTreeMap<String, Made>,
    /// When the libraries of packages were compiled in this build, by the package's id.
    libraries: BTreeMap<String, Instant>,
}

/// When a binary was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    /// When the library of its package was compiled. None if that did not change.
    pub(crate) compiled: Option<Instant>,
    /// When the binary was there. Its own few lines are compiled by then, and all is linked.
    pub(crate) linked: Instant,
}

impl Artifacts {
    /// The next build begins: binaries that came out of those before stay as they are.
    pub(crate) fn begin(&mut self) {
        self.libraries.clear();
    }

    /// Takes in a line of cargo's messages, as it comes.
    pub(crate) fn hear(&mut self, line: &str) {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            return;
        };
        if message["reason"] != "compiler-artifact" {
            return;
        }
        let (package, is_new) = (message["package_id"].to_string(), message["fresh"] == false);
        let Some(path) = message["executable"].as_str() else {
            if is_new {
                self.libraries.insert(package, Instant::now());
            }
            return;
        };
        let name = message["target"]["name"].as_str().unwrap_or_default();
        self.binaries.insert(name.to_owned(), path.into());
        if is_new {
            let made = Made {
                compiled: self.libraries.get(&package).copied(),
                linked: Instant::now(),
            };
            self.new.insert(name.to_owned(), made);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, executable: Option<&str>, is_fresh: bool) -> String {
        serde_json::json!({
            "reason": "compiler-artifact", "package_id": "path+file:///shop/api#0.1.0",
            "target": {"name": name}, "executable": executable, "fresh": is_fresh,
        })
        .to_string()
    }

    #[test]
    fn only_messages_about_binaries_name_one() {
        let mut artifacts = Artifacts::default();
        for line in [
            "not json",
            r#"{"reason":"build-finished","success":true}"#,
            &message("api", None, true),
        ] {
            artifacts.hear(line);
        }
        assert!(artifacts.binaries.is_empty());
        artifacts.hear(&message("api", Some("/t/debug/api"), true));
        assert_eq!(artifacts.binaries["api"], PathBuf::from("/t/debug/api"));
        assert!(artifacts.new.is_empty());
    }

    #[test]
    fn a_binary_is_linked_after_its_library_is_compiled() {
        let mut artifacts = Artifacts::default();
        artifacts.hear(&message("api", None, false));
        artifacts.hear(&message("api", Some("/t/debug/api"), false));
        let made = artifacts.new["api"];
        assert!(made.compiled.unwrap() <= made.linked);
    }

    #[test]
    fn what_a_failed_build_made_is_new_until_it_is_taken() {
        let mut artifacts = Artifacts::default();
        artifacts.begin();
        artifacts.hear(&message("api", Some("/t/debug/api"), false));
        artifacts.begin();
        artifacts.hear(&message("api", Some("/t/debug/api"), true));
        assert!(artifacts.new.contains_key("api"));
    }
}
