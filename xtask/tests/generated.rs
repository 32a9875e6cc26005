//! What `generate` writes compiles without a warning, passes its own tests, clippy and the tests of
//! the architecture; and so does a project that was given another name.
//!
//! It works on a copy of the project below `target/`, at a path that stays the same: what a run
//! compiled serves the next one. It builds into the folder that this test was built into, where the
//! dependencies are. In a binary of its own, because it builds the command anew, and other tests
//! run that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
        Self { root, target }
    }

    fn run(&self, mut command: Command) {
        let output = command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            // Compiled once and looked at again in a later run at best: the disk is worth more.
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

/// With the times of the files, by which cargo tells what it has compiled before.
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
            let copied = to.join(&name);
            fs::copy(&path, &copied).unwrap();
            let file = fs::File::options().append(true).open(&copied);
            let time = path.metadata().unwrap().modified().unwrap();
            file.and_then(|file| file.set_modified(time)).unwrap();
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
