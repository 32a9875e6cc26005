//! What doctor says of the checkout's files, and what `--fix` does to them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{check, fix};
use crate::checkout::{Checkout, text};

#[test]
fn lines_of_env_that_mean_nothing_are_told_with_what_was_meant() {
    let checkout = Checkout::new();
    let env = checkout.root.join(".env");
    check(&checkout, ".env").says("ok", "not there yet", "");
    for (line, status, finding, remedy) in [
        (
            "API_PROT=8000",
            "warn",
            "nobody reads API_PROT",
            "write API_PORT",
        ),
        ("COLOUR=blue", "warn", "nobody reads COLOUR", ".env.example"),
        (
            "API_PORT 8000",
            "fail",
            "`API_PORT 8000` is no setting",
            "NAME=value",
        ),
        (
            "DATABASE_URL=postgres://x",
            "fail",
            "has DATABASE_URL",
            "remove the line",
        ),
        ("LOG_LEVEL=info\r", "warn", "Windows line ends", "--fix"),
        ("JWT_SECRET=x", "ok", "every line", ""),
        (
            "APP_ENV=$STAGE",
            "fail",
            "line 1: `$STAGE` is set nowhere",
            "quotes",
        ),
    ] {
        fs::write(&env, format!("{line}\n")).unwrap();
        check(&checkout, ".env").says(status, finding, remedy);
    }
    fs::write(&env, b"MAIL_FROM=caf\xe9\n").unwrap();
    check(&checkout, ".env").says("fail", "line 1: it is not UTF-8", "save .env as UTF-8");
    fs::write(&env, "LOG_LEVEL=info\r\n# kept\r\n").unwrap();
    assert!(fix(&checkout).contains("LF in 1 file"));
    assert_eq!(
        fs::read_to_string(&env).unwrap(),
        "LOG_LEVEL=info\n# kept\n"
    );
}

#[test]
fn secrets_that_are_gone_beside_data_are_told_and_not_made() {
    let checkout = Checkout::new();
    let data = checkout.root.join(".slipway/data/postgres");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "17\n").unwrap();
    let state = json!({ "root": checkout.root, "postgres_data": data });
    fs::write(checkout.root.join(".slipway/state.json"), state.to_string()).unwrap();
    for remedy in ["put it back", "cargo xtask up", "down --volumes"] {
        check(&checkout, "secrets").says("warn", "secrets/ is gone", remedy);
    }
    fix(&checkout);
    assert!(!checkout.root.join("secrets").exists());
}

#[test]
fn what_is_missing_is_made_by_fix_and_nothing_is_overwritten() {
    let checkout = Checkout::new();
    let said = fix(&checkout);
    assert!(
        said.contains("made .env") && said.contains("in secrets/"),
        "{said}"
    );
    let secret = checkout.root.join("secrets/jwt_secret");
    let before = fs::read_to_string(&secret).unwrap();
    fix(&checkout);
    assert_eq!(fs::read_to_string(&secret).unwrap(), before);

    fs::remove_file(checkout.root.join("secrets/redis_password")).unwrap();
    let missing = check(&checkout, "secrets");
    missing.says(
        "warn",
        "missing in secrets/: redis_password",
        "put them back",
    );
    assert!(!missing.fixable, "a new one would not be that of the data");
}

#[test]
fn secrets_are_closed_readable_and_random() {
    let checkout = Checkout::new();
    fix(&checkout);
    let folder = checkout.root.join("secrets");
    let secret = folder.join("jwt_secret");
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&folder, 0o755);
    let open = "other users of this machine can read it";
    check(&checkout, "secrets").says("warn", open, "chmod 700");
    set(&secret, 0o400);
    let closed = "secrets/jwt_secret has the mode 0400";
    check(&checkout, "secrets").says("fail", closed, "chmod 444");
    assert!(fix(&checkout).contains("0700 and its files are 0444"));
    check(&checkout, "secrets").says("ok", "closed to other users", "");

    set(&secret, 0o644);
    for (weak, finding) in [
        ("", "secrets/jwt_secret is empty"),
        ("short", "has only 5 characters of 32"),
        ("changeme-changeme-changeme-changeme", "a placeholder"),
    ] {
        fs::write(&secret, weak).unwrap();
        check(&checkout, "secrets").says("fail", finding, "rm secrets/jwt_secret");
    }
    let said = checkout.refused(&["up", "--native", "--infra"]);
    assert!(
        said.contains("error: secrets: secrets/jwt_secret looks like"),
        "{said}"
    );
}

#[test]
fn windows_line_ends_are_told_before_a_start_and_mended() {
    let checkout = Checkout::new();
    let migration = checkout.root.join("migrations/1_a.up.sql");
    fs::write(&migration, "CREATE TABLE a (id int);\r\n").unwrap();
    let crlf = "(CRLF) in migrations/1_a.up.sql";
    check(&checkout, "line ends").says("fail", crlf, "doctor --fix");
    let said = checkout.refused(&["up", "--native", "--infra"]);
    assert!(
        said.contains("error: line ends: ") && said.contains("next: "),
        "{said}"
    );
    assert!(
        !checkout.root.join(".slipway/data").exists(),
        "it started something"
    );
    fix(&checkout);
    assert_eq!(
        fs::read_to_string(&migration).unwrap(),
        "CREATE TABLE a (id int);\n"
    );
    check(&checkout, "line ends").says("ok", "LF", "");
}

#[test]
fn a_statement_without_its_description_is_stale() {
    let checkout = Checkout::new();
    let source = checkout.root.join("shop/src/lib.rs");
    fs::create_dir_all(source.parent().unwrap()).unwrap();
    fs::write(checkout.root.join("shop/Cargo.toml"), "").unwrap();
    fs::write(&source, "fn a() { sqlx::query!(\"SELECT 1\") }").unwrap();
    let stale = check(&checkout, ".sqlx");
    stale.says("fail", "0 of them described", "cargo xtask db prepare");
    assert!(stale.fixable);
}

#[test]
fn what_git_does_with_secrets_line_ends_and_hooks_is_told() {
    let checkout = Checkout::new();
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        let output = git.args(words).current_dir(&checkout.root).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    git(&["init", "-q"]);
    let ends = "line ends of each machine";
    check(&checkout, "git").says("fail", ends, "*.sql text eol=lf");
    let attributes = checkout.root.join(".gitattributes");
    fs::write(attributes, "*.sql text eol=lf\n").unwrap();
    check(&checkout, "git").says("ok", "no secret", "");

    let hook = checkout.root.join(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o644)).unwrap();
    check(&checkout, "git").says("warn", "never runs", "chmod +x");

    fs::write(checkout.root.join(".env"), "LOG_LEVEL=info\n").unwrap();
    git(&["add", ".env"]);
    check(&checkout, "git").says("fail", ".env is in git", "git rm -r --cached");
}
