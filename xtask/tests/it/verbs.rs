//! Verbs that need no server.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::checkout::{Checkout, text};

#[test]
fn a_verb_before_the_first_up_says_what_to_do() {
    let checkout = Checkout::new();
    assert_eq!(
        checkout.ok(&["ps", "--json"]),
        "{\"mode\":null,\"services\":[]}\n"
    );
    for words in [
        &["ps"][..],
        &["logs"],
        &["psql"],
        &["migrate", "status"],
        &["db", "backup"],
        &["db", "rotate-password"],
        &["jobs"],
        &["restart"],
    ] {
        assert!(
            checkout.refused(words).contains("cargo xtask up"),
            "{words:?}"
        );
    }
    assert!(checkout.run(&["down"]).status.success());
}

#[test]
fn a_checkout_that_cannot_be_written_to_is_named() {
    let checkout = Checkout::new();
    // Not even root makes a folder in the place of a file.
    fs::write(checkout.root.join(".slipway"), "").unwrap();
    let said = checkout.refused(&["up", "--native", "--infra"]);
    let path = checkout.root.join(".slipway").display().to_string();
    assert!(
        said.contains(&format!("{path} cannot be written")),
        "{said}"
    );
    assert!(said.contains("\n  next: "), "{said}");
    fs::remove_file(checkout.root.join(".slipway")).unwrap();
}

#[test]
fn migrate_is_nothing_to_restart() {
    let said = Checkout::new().refused(&["restart", "migrate"]);
    assert!(said.contains("next: `cargo xtask migrate run`"), "{said}");
}

#[test]
fn data_of_a_protected_stack_is_never_removed() {
    let checkout = Checkout::new();
    for (line, name) in [
        ("APP_ENV=production\n", "production"),
        ("APP_ENV=Staging\n", "Staging"),
        ("APP_ENV=prod\n", "prod"),
        ("APP_ENV: production\n", "production"),
        ("\u{feff}APP_ENV=production\n", "production"),
        ("STAGE=live\nAPP_ENV=${STAGE}\n", "live"),
        ("APP_ENV=\"production\n", "line 1: a \" is opened"),
    ] {
        fs::write(checkout.root.join(".env"), line).unwrap();
        for words in [
            &["down", "--volumes", "--yes"][..],
            &["db", "reset", "--yes", "--force"],
            &["db", "restore", "latest", "--yes", "--force"],
            &["e2e"],
        ] {
            assert!(checkout.refused(words).contains(name), "{words:?}");
            // The shell does not take it back.
            let mut shell = checkout.command(words);
            let shell = shell.env("APP_ENV", "development").output();
            let said = text(&shell.unwrap().stderr);
            assert!(said.contains(name), "{words:?}: {said}");
        }
    }
    fs::remove_file(checkout.root.join(".env")).unwrap();
}

#[test]
fn what_removes_data_names_the_call_that_does_not_ask() {
    let checkout = Checkout::new();
    let said = checkout.refused(&["db", "restore", "latest"]);
    assert!(said.contains("next: `cargo xtask db backup`"), "{said}");
    let said = checkout.refused(&["db", "backup", "nowhere/x.dump"]);
    assert!(
        said.contains("there is no folder ") && said.contains("mkdir -p"),
        "{said}"
    );
    // Where there is nothing, there is nothing to be asked.
    let nothing = text(&checkout.run(&["down", "--volumes"]).stderr);
    assert!(nothing.contains("there is no data"), "{nothing}");
    fs::create_dir_all(checkout.root.join(".slipway/data")).unwrap();
    fs::write(checkout.root.join("some.dump"), "a dump").unwrap();
    for words in [
        &["down", "--volumes"][..],
        &["db", "reset"],
        &["db", "restore", "some.dump"],
    ] {
        let next = format!("next: `cargo xtask {} --yes`", words.join(" "));
        let said = checkout.refused(words);
        assert!(said.contains(&next), "{said}");
    }
}

#[test]
fn a_new_migration_has_two_files_that_come_last() {
    let checkout = Checkout::new();
    let list = || {
        let mut names: Vec<String> = fs::read_dir(checkout.root.join("migrations"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    checkout.ok(&["migrate", "new", "add_orders"]);
    checkout.ok(&["migrate", "new", "add_items"]);
    let names = list();
    assert_eq!(names.len(), 4);
    assert!(names[0].ends_with("_add_orders.down.sql") && names[1].ends_with("_add_orders.up.sql"));
    assert!(names[3].ends_with("_add_items.up.sql"));
    assert!(
        fs::read_to_string(checkout.root.join("migrations").join(&names[1]))
            .unwrap()
            .contains("expand")
    );
    assert!(
        checkout
            .refused(&["migrate", "new", "Add orders"])
            .contains("add_orders")
    );
}

#[test]
fn migrations_are_judged_without_a_stack() {
    let checkout = Checkout::new();
    checkout.ok(&["migrate", "new", "add_orders"]);
    assert!(
        checkout
            .ok(&["migrate", "check"])
            .contains("ok 1 migrations")
    );
    let up = fs::read_dir(checkout.root.join("migrations"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(".up.sql"))
        .unwrap();
    fs::write(&up, "SELECT 1;\nDROP TABLE orders;\n").unwrap();
    let output = checkout.run(&["migrate", "check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(
        said.contains(".up.sql:2\n    drop-table on orders") && said.contains("next: "),
        "{said}"
    );
    fs::write(&up, "-- safe: never used\nDROP TABLE orders;\n").unwrap();
    let output = checkout.run(&["migrate", "check"]);
    assert!(output.status.success());
    // What only a database knows is said not to be known.
    assert!(text(&output.stderr).contains("the database is not up"));
}

#[test]
fn nothing_is_reverted_where_data_matters() {
    let checkout = Checkout::new();
    fs::write(checkout.root.join(".env"), "APP_ENV=staging\n").unwrap();
    let said = checkout.refused(&["migrate", "revert", "--yes"]);
    assert!(
        said.contains("APP_ENV is staging") && said.contains("migrate new"),
        "{said}"
    );
    fs::remove_file(checkout.root.join(".env")).unwrap();
}

#[test]
fn words_that_are_no_verbs_are_answered_with_the_nearest() {
    let checkout = Checkout::new();
    let output = checkout.run(&["dwon"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("'down'"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let checkout = Checkout::new();
    let mut child = checkout
        .command(&["doctor", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn verbose_shows_the_commands_that_are_run() {
    let checkout = Checkout::new();
    let quiet = checkout.run(&["migrate", "check"]);
    assert!(!text(&quiet.stderr).contains("+ "));
    let output = checkout.run(&["--verbose", "migrate", "check"]);
    let said = text(&output.stderr);
    assert!(said.contains("+ cd ") || said.contains("+ git "), "{said}");
    assert!(said.contains("git rev-parse --verify"), "{said}");
    assert_eq!(quiet.stdout, output.stdout);
}

/// A `docker` that has a volume of every project, and writes down what else it is asked.
const DOCKER: &str = r#"#!/bin/sh
case $1 in
  volume) echo data ;;
  ps) ;;
  *) echo "$@" >> calls ;;
esac
"#;

#[test]
fn the_data_of_both_modes_are_removed() {
    let checkout = Checkout::new();
    let root = checkout.root.canonicalize().unwrap();
    let bin = root.join("bin");
    fs::create_dir(&bin).unwrap();
    let docker = |text: &str| {
        fs::write(bin.join("docker"), text).unwrap();
        fs::set_permissions(bin.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let run = |words: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let output = checkout.command(words).env("PATH", path).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let state = |mode: &str| {
        let state = json!({ "root": root, "mode": mode, "docker": { "dev": false } });
        fs::create_dir_all(root.join(".slipway/data/postgres")).unwrap();
        fs::write(root.join(".slipway/state.json"), state.to_string()).unwrap();
    };
    let calls = root.join("calls");
    for mode in ["native", "docker"] {
        docker(DOCKER);
        state(mode);
        assert_eq!(run(&["down", "--volumes", "--yes"]).0, Some(0), "{mode}");
        let said = fs::read_to_string(&calls).unwrap();
        assert!(
            said.contains("--remove-orphans --volumes"),
            "{mode}: {said}"
        );
        assert!(!root.join(".slipway/data").exists(), "{mode}");
        fs::remove_file(&calls).unwrap();
    }

    // There is nothing native and no mode any more, and rename still sees what Docker has.
    let (code, said) = run(&["rename", "zzboat", "--force"]);
    assert!(
        code == Some(1) && said.contains("has left its data"),
        "{said}"
    );

    docker("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n");
    state("native");
    let (code, said) = run(&["down", "--volumes", "--yes"]);
    assert!(
        code == Some(0) && said.contains("has left there stays"),
        "{said}"
    );
    assert!(!root.join(".slipway/data").exists());
}

#[test]
fn an_up_does_not_leave_the_data_for_another_mode() {
    let checkout = Checkout::new();
    let state = json!({ "root": checkout.root, "mode": "docker" });
    fs::create_dir_all(checkout.root.join(".slipway")).unwrap();
    fs::write(checkout.root.join(".slipway/state.json"), state.to_string()).unwrap();
    let mut up = checkout.command(&["up"]);
    let output = up
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output();
    let said = text(&output.unwrap().stderr);
    for words in [
        "the data of the last `up` are there",
        "next: ",
        "up --native",
    ] {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
}
