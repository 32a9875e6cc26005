//! `completions`: in a real bash, as a press of TAB would have it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::checkout::{Checkout, text};

/// What bash offers for the last word of these, one by one and in order.
const ASK: &str = r#"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
spec=$(complete -p cargo) && [[ $spec =~ -F\ ([^ ]+) ]]
"${BASH_REMATCH[1]}" cargo "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}" | sort
"#;

fn offered(script: &Path, before: &str, words: &[&str]) -> Vec<String> {
    let script = script.display();
    // Read twice, as by a shell that reads its start-up file again.
    let all = format!("{before}\nsource '{script}'; source '{script}'\n{ASK}");
    let output = Command::new("bash")
        .args(["--norc", "-c", &all, "bash"])
        .args(words)
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_what_stands_behind_cargo_xtask() {
    let checkout = Checkout::new();
    let compose = "services:\n  api:\n    image: x\n  worker:\n\nnetworks:\n  data:\n";
    fs::write(checkout.root.join("docker-compose.yml"), compose).unwrap();
    let script = checkout.root.join("completions.bash");
    fs::write(&script, checkout.ok(&["completions", "bash"])).unwrap();
    let cargo = "_cargo() { COMPREPLY=(of-cargo); }; complete -F _cargo cargo";
    for (words, expected) in [
        (&["cargo", "xtask", "rest"][..], &["restart"][..]),
        (&["cargo", "+nightly", "xtask", "rest"], &["restart"]),
        (&["cargo", "xtask", "migrate", "st"], &["status"]),
        (&["cargo", "xtask", "logs", "wo"], &["worker"]),
        (&["cargo", "xtask", "up", "wo"], &["worker"]),
        (&["cargo", "xtask", "wait", "a"], &["api"]),
        (&["cargo", "xtask", "open", "do"], &["docs"]),
        (&["cargo", "xtask", "logs", "--level", "wa"], &["warn"]),
        (&["cargo", "xtask", "completions", "f"], &["fish"]),
        (&["cargo", "xtask", "up", "--nat"], &["--native"]),
        (&["cargo", "xtask", "jobs", "sched"], &["schedules"]),
        (&["cargo", "xtask", "admin", "gr"], &["grant"]),
        (&["cargo", "xtask", "db", "bac"], &["backup", "backups"]),
        (&["cargo", "xtask", "supervi"], &[""]),
        (&["cargo", "xtask", "db", "disc"], &[""]),
        // All else is cargo's, and `xtask` itself where nobody else knows it.
        (&["cargo", "te"], &["of-cargo"]),
        (&["cargo", "xta"], &["of-cargo"]),
    ] {
        assert_eq!(offered(&script, cargo, words), expected, "{words:?}");
    }
    assert_eq!(offered(&script, "", &["cargo", "xta"]), ["xtask"]);
}

#[test]
fn every_shell_has_a_script_and_others_are_told() {
    let checkout = Checkout::new();
    for (shell, part) in [("zsh", "_cargo-xtask()"), ("fish", "__fish_cargo_xtask")] {
        let script = checkout.ok(&["completions", shell]);
        assert!(
            script.contains(part) && script.contains("migrate"),
            "{shell}"
        );
    }
    assert_eq!(
        checkout.run(&["completions", "tcsh"]).status.code(),
        Some(2)
    );
}
