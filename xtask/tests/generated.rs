//! What `generate` writes compiles without a warning, passes its own tests, clippy and the tests of
//! the architecture; and so does a project that was given another name.
//!
//! It works on a copy of the project below `target/`, and builds into the folder that this test was
//! built into, where the dependencies are. The copy has a version of its own, by which cargo tells
//! its crates from those of the project: it would take one for the other. In a binary of its own,
//! because it builds the command anew, and other tests run that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the crates of the copy have for their version.
const VERSION: &str = "0.0.0-generated";

/// In the project's folder, but neither code nor of interest to a copy.
const LEFT_OUT: [&str; 5] = [".env", ".git", ".slipway", "secrets", "target"];

/// Every type of a field, each more than once.
const FIELDS: [&str; 9] = [
    "name:text",
    "note:text",
    "amount:integer",
    "weight_in_grams:integer",
    "paid:boolean",
    "due_at:timestamp",
    "ends_at:timestamp",
    "batch_id:uuid",
    "template:uuid",
];

struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn new() -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let command = Path::new(env!("CARGO_BIN_EXE_xtask"));
        let target = command.ancestors().nth(2).unwrap().to_owned();
        let root = target.join("generated");
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        copy(project, &root, &LEFT_OUT);
        let manifest = root.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        let (before, after) = text.split_once("\nversion = \"").unwrap();
        let (_, after) = after.split_once('"').unwrap();
        fs::write(
            manifest,
            format!("{before}\nversion = \"{VERSION}\"{after}"),
        )
        .unwrap();
        Self { root, target }
    }

    fn run(&self, mut command: Command) {
        let output = command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            // Nothing is compiled a second time.
            .env("CARGO_INCREMENTAL", "0")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn xtask(&self, words: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words);
        command.env("CARGO_MANIFEST_DIR", self.root.join("xtask"));
        self.run(command);
    }

    fn cargo(&self, words: &str) {
        let mut command = Command::new("cargo");
        command.args(words.split(' '));
        // What this test was started with is not the copy's.
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy();
            if ours.starts_with("CARGO_PKG_") || ours.starts_with("CARGO_MANIFEST_") {
                command.env_remove(name);
            }
        }
        self.run(command);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // After a failure it stays, to be looked at.
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

fn copy(from: &Path, to: &Path, left_out: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .unwrap();
        let left_out = left_out.iter().any(|left_out| name == *left_out);
        if path.is_dir() && !left_out {
            copy(&path, &to.join(&name), &[]);
        } else if path.is_file() && !left_out {
            fs::copy(&path, to.join(&name)).unwrap();
        }
    }
}

#[test]
fn what_is_renamed_and_generated_compiles_and_passes() {
    let copy = Copy::new();
    copy.xtask(&["rename", "zzboat", "--force"]);
    copy.xtask(&[&["generate", "resource", "order_line"], &FIELDS[..]].concat());
    // None of the helpers that only some types need, and an irregular plural.
    copy.xtask(&[
        "generate",
        "resource",
        "person",
        "alive:boolean",
        "--plural",
        "people",
    ]);
    copy.xtask(&[&["generate", "job", "ship_order"], &FIELDS[..]].concat());
    copy.xtask(&["generate", "job", "tick"]);
    copy.xtask(&["generate", "migration", "add_orders"]);
    copy.xtask(&["migrate", "check"]);

    copy.cargo("fmt --check");
    let tests = "order_lines people openapi hostile ship_order tick every_";
    copy.cargo(&format!(
        "test -p domain -p api -p worker --lib --test it -- {tests}"
    ));
    copy.cargo("clippy -p domain -p api -p worker --all-targets -- -D warnings");
    copy.cargo("test -p xtask --test architecture");
}
