//! `rename` in a small checkout. That all of the project still compiles and passes its tests under
//! another name is proven in `xtask/tests/generated.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::checkout::Checkout;

/// With a script, licences and settings of its own, all committed but the last.
fn checkout() -> Checkout {
    let checkout = Checkout::new();
    let write = |file: &str, text: &str| fs::write(checkout.root.join(file), text).unwrap();
    write(".gitignore", "/.slipway/\n/.env\n");
    write(".env", "SLIPWAY_IMAGE=slipway:1.0.0\n");
    write("LICENSE-MIT", "Copyright (c) The Slipway contributors\n");
    write(
        "run",
        "#!/bin/sh\n# Of Slipway.\nexport DATABASE=slipway_test\n",
    );
    write("logo", "\0slipway");
    fs::write(checkout.root.join("picture"), b"\xff slipway").unwrap();
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(checkout.root.join("run"), mode).unwrap();
    git(&checkout, &["init", "--quiet"]);
    commit(&checkout);
    checkout
}

fn git(checkout: &Checkout, words: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"])
        .args(words)
        .current_dir(&checkout.root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn commit(checkout: &Checkout) {
    git(checkout, &["add", "--all"]);
    git(checkout, &["commit", "--quiet", "--message", "x"]);
}

fn read(checkout: &Checkout, file: &str) -> String {
    fs::read_to_string(checkout.root.join(file)).unwrap()
}

#[test]
fn every_file_gets_the_new_name_and_nothing_else_changes() {
    let checkout = checkout();
    fs::create_dir_all(checkout.root.join(".slipway/mail")).unwrap();
    let dry = checkout.ok(&["rename", "zzboat", "--dry-run"]);
    assert!(dry.contains("docker/postgres/roles.sql"), "{dry}");
    assert_eq!(git(&checkout, &["status", "--porcelain"]), "");

    let said = checkout.ok(&["rename", "zzboat"]);
    assert!(dry.ends_with(&said), "it does what it says: {said}");
    assert_eq!(
        read(&checkout, "run"),
        "#!/bin/sh\n# Of Zzboat.\nexport DATABASE=zzboat_test\n"
    );
    let mode = fs::metadata(checkout.root.join("run"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o755);
    assert_eq!(read(&checkout, ".env"), "ZZBOAT_IMAGE=zzboat:1.0.0\n");
    assert!(read(&checkout, "LICENSE-MIT").contains("Slipway"));
    let picture = fs::read(checkout.root.join("picture")).unwrap();
    assert_eq!(picture, b"\xff slipway", "it is no text");
    assert_eq!(read(&checkout, "logo"), "\0slipway", "nor is this");
    assert!(checkout.root.join(".zzboat/mail").is_dir());
    let left = git(
        &checkout,
        &["grep", "-Iil", "slipway", "--", ".", ":!LICENSE-MIT"],
    );
    assert_eq!(
        left,
        "picture
",
        "only what is no text"
    );
    fs::rename(
        checkout.root.join(".zzboat"),
        checkout.root.join(".slipway"),
    )
    .unwrap();
}

#[test]
fn a_rename_that_could_lose_something_is_refused() {
    let checkout = checkout();
    fs::write(checkout.root.join("run"), "# slipway\n").unwrap();
    let said = checkout.refused(&["rename", "zzboat"]);
    assert!(said.contains("1 changes are not committed"), "{said}");
    assert_eq!(read(&checkout, "run"), "# slipway\n");
    checkout.ok(&["rename", "zzboat", "--force"]);
    assert_eq!(read(&checkout, "run"), "# zzboat\n");
    git(&checkout, &["checkout", "--quiet", "."]);

    let without_git = Checkout::new();
    let said = without_git.refused(&["rename", "zzboat"]);
    assert!(said.contains("no git here"), "{said}");
    without_git.ok(&["rename", "zzboat", "--force"]);
    assert!(read(&without_git, "docker/postgres/roles.sql").contains("zzboat_owner"));

    // What `up` remembers, until `down --volumes`.
    let root = checkout.root.canonicalize().unwrap();
    let state = json!({ "root": root, "mode": "native" }).to_string();
    fs::create_dir_all(checkout.root.join(".slipway")).unwrap();
    fs::write(checkout.root.join(".slipway/state.json"), state).unwrap();
    for words in [&["rename", "zzboat"][..], &["rename", "zzboat", "--force"]] {
        let said = checkout.refused(words);
        assert!(said.contains("a database called `slipway`"), "{said}");
        assert!(said.contains("down --volumes"), "{said}");
    }
    checkout.ok(&["rename", "zzboat", "--dry-run"]);
    assert_eq!(git(&checkout, &["status", "--porcelain"]), "");
}

#[test]
fn what_is_no_name_is_refused() {
    let checkout = checkout();
    for (name, why) in [
        ("Harbour", "no name for a product"),
        ("my-shop", "no name for a product"),
        ("2nd", "no name for a product"),
        ("slipway", "already"),
        ("select", "is taken"),
        ("match", "is taken"),
        ("postgres", "is taken"),
        ("docker", "is taken"),
        ("git", "is taken"),
    ] {
        let said = checkout.refused(&["rename", name]);
        assert!(
            said.contains(why) && said.contains("next:"),
            "{name}: {said}"
        );
    }
    assert_eq!(git(&checkout, &["status", "--porcelain"]), "");
}
