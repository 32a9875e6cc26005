//! Passwords that change, on purpose and not: nobody is locked out, nothing is lost, all is said.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::checkout::{Checkout, text};

const UP: [&str; 3] = ["up", "--native", "--infra"];

const PASSWORDS: [(&str, &str); 3] = [
    ("postgres", "postgres_superuser_password"),
    ("slipway_owner", "postgres_owner_password"),
    ("slipway_app", "postgres_app_password"),
];

#[test]
fn rotated_passwords_are_taken_and_the_old_ones_refused() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    checkout.ok(&["psql", "-qc", "CREATE TABLE kept ()"]);
    let pid = checkout.pid("postgres");
    let before = PASSWORDS.map(|(_, name)| secret(&checkout, name));
    let redis = secret(&checkout, "redis_password");

    checkout.ok(&["db", "rotate-password", "app", "app"]);
    assert_eq!(
        secret(&checkout, PASSWORDS[1].1),
        before[1],
        "another role's was changed"
    );
    checkout.ok(&["db", "rotate-password"]);
    for ((role, name), old) in PASSWORDS.iter().zip(&before) {
        assert!(!lets_in(&checkout, role, old), "{role}, the old one");
        assert!(
            lets_in(&checkout, role, &secret(&checkout, name)),
            "{role}, the new one"
        );
    }
    assert_ne!(secret(&checkout, "redis_password"), redis);
    assert_eq!(checkout.ok(&["redis-cli", "ACL", "WHOAMI"]), "slipway\n");
    let answer = checkout.run(&["redis-cli", "-e", "AUTH", "slipway", &redis]);
    assert!(text(&answer.stderr).contains("WRONGPASS"), "{answer:?}");
    assert_eq!(checkout.pid("postgres"), pid, "Postgres was restarted");
    checkout.ok(&["psql", "-c", "SELECT FROM kept"]);

    // A restart that fails is left for `up`.
    let settled = || {
        let state = fs::read_to_string(checkout.root.join(".slipway/state.json")).unwrap();
        let state: Value = serde_json::from_str(&state).unwrap();
        !state["native_secrets"].is_null()
    };
    assert!(settled());
    let config = checkout.root.join(".slipway/native/redis.conf");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, "nonsense yes\n").unwrap();
    checkout.refused(&["db", "rotate-password", "redis"]);
    assert!(!settled());
    fs::write(&config, good).unwrap();
    checkout.ok(&UP);
    assert!(settled());
    assert_eq!(checkout.ok(&["redis-cli", "ACL", "WHOAMI"]), "slipway\n");
    assert_eq!(
        fs::metadata(path(&checkout, "redis_password"))
            .unwrap()
            .len(),
        48
    );
}

#[test]
fn a_rotation_that_was_interrupted_is_finished_by_the_next_start() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    checkout.ok(&["psql", "-qc", "CREATE TABLE kept ()"]);
    // One ended before the roles were told, the other behind it.
    for (role, name) in PASSWORDS {
        let word = "newWord123".repeat(5);
        fs::write(path(&checkout, name).with_extension("new"), &word).unwrap();
        if role == "slipway_app" {
            let sql = format!("ALTER ROLE slipway_app PASSWORD '{word}'");
            let port = checkout.port("postgres");
            let superuser = secret(&checkout, "postgres_superuser_password");
            let url = format!("postgresql://postgres:{superuser}@127.0.0.1:{port}/postgres");
            checkout.ok(&["psql", "-d", &url, "-qc", &sql]);
        }
    }
    let said = checkout.refused(&["db", "rotate-password"]);
    assert!(
        said.contains("interrupted") && said.contains("cargo xtask up"),
        "{said}"
    );

    checkout.ok(&UP);
    for (role, name) in PASSWORDS {
        assert!(!path(&checkout, name).with_extension("new").exists());
        assert!(lets_in(&checkout, role, &"newWord123".repeat(5)), "{role}");
    }
    checkout.ok(&["psql", "-c", "SELECT FROM kept"]);
}

#[test]
fn secrets_that_no_longer_fit_are_told_and_lose_nothing() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    let first = text(&checkout.run(&UP).stderr);
    assert!(
        !first.contains("other passwords"),
        "on the first start: {first}"
    );
    let logs = checkout.ok(&["logs", "postgres"]);
    assert!(!logs.contains("authentication failed"), "{logs}");
    checkout.ok(&["psql", "-qc", "CREATE TABLE kept ()"]);

    // One that was edited: those who start programs with it say so before Postgres does.
    let app = path(&checkout, "postgres_app_password");
    fs::remove_file(&app).unwrap();
    fs::write(&app, "a:\\'b c$@#--and-long-enough").unwrap();
    for words in [
        &["migrate", "status"][..],
        &["restart"],
        &["db", "rotate-password"],
    ] {
        let said = checkout.refused(words);
        assert!(
            said.contains("changed since the last start: postgres_app_password")
                && said.contains("cargo xtask up"),
            "{words:?}: {said}"
        );
    }
    let output = checkout.run(&UP);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("secrets/postgres_app_password (role slipway_app)")
            && !said.contains("slipway_owner")
            && said.contains("no data is lost")
            && said.contains("put the old files into secrets/")
            && said.contains("down --volumes"),
        "{said}"
    );
    let output = checkout.run(&UP);
    assert!(
        !text(&output.stderr).contains("other passwords"),
        "it fits now"
    );

    // All of them gone, with the keys that no server has a copy of.
    fs::remove_dir_all(checkout.root.join("secrets")).unwrap();
    let output = checkout.run(&UP);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for words in [
        "secrets/jwt_secret: access tokens",
        "secrets/webhook_secret: the signing",
        "role postgres)",
    ] {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
    checkout.ok(&["psql", "-c", "SELECT FROM kept"]);
}

#[test]
fn what_an_editor_leaves_behind_a_password_is_no_part_of_it() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    let app = path(&checkout, "postgres_app_password");
    fs::remove_file(&app).unwrap();
    fs::write(&app, "wordOfAnEditor1234 \r\n\r\n").unwrap();
    checkout.ok(&UP);
    assert!(lets_in(&checkout, "slipway_app", "wordOfAnEditor1234"));

    // Any other way than ours may find an empty one.
    let others = checkout.root.join("others");
    fs::create_dir(&others).unwrap();
    for (_, name) in PASSWORDS {
        fs::write(others.join(name), "\r\n").unwrap();
    }
    let superuser = secret(&checkout, "postgres_superuser_password");
    let port = checkout.port("postgres");
    let url = format!("postgresql://postgres:{superuser}@127.0.0.1:{port}/postgres");
    let output = checkout.run(&[
        "psql",
        "-d",
        &url,
        "-v",
        "secrets=others",
        "-f",
        "docker/postgres/roles.sql",
    ]);
    let said = text(&output.stderr);
    assert!(said.contains("is empty or missing"), "{said}");
    assert!(lets_in(&checkout, "postgres", &superuser));
}

#[test]
fn a_protected_stack_is_told_and_left_as_it_is() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    fs::write(checkout.root.join(".env"), "APP_ENV=staging\n").unwrap();
    let owner = path(&checkout, "postgres_owner_password");
    let old = secret(&checkout, "postgres_owner_password");
    fs::remove_file(&owner).unwrap();
    let said = checkout.refused(&UP);
    for words in [
        "(role slipway_owner)",
        "put the old files back",
        "up --yes",
        "remove the volume",
    ] {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
    assert!(
        lets_in(&checkout, "slipway_owner", &old),
        "it was set all the same"
    );

    fs::remove_file(path(&checkout, "webhook_secret")).unwrap();
    let said = checkout.refused(&UP);
    assert!(
        said.contains("secrets/webhook_secret: the signing"),
        "{said}"
    );
    assert!(
        !path(&checkout, "webhook_secret").exists(),
        "it was made all the same"
    );

    checkout.ok(&[&UP[..], &["--yes"]].concat());
    assert!(lets_in(
        &checkout,
        "slipway_owner",
        &secret(&checkout, "postgres_owner_password")
    ));
    fs::remove_file(&owner).unwrap();
    fs::write(&owner, "\n").unwrap();
    let said = checkout.refused(&UP);
    assert!(said.contains("postgres_owner_password is empty"), "{said}");
    // For the end of the test, which removes the data.
    fs::remove_file(checkout.root.join(".env")).unwrap();
}

fn path(checkout: &Checkout, name: &str) -> PathBuf {
    checkout.root.join("secrets").join(name)
}

fn secret(checkout: &Checkout, name: &str) -> String {
    fs::read_to_string(path(checkout, name)).unwrap()
}

fn lets_in(checkout: &Checkout, role: &str, password: &str) -> bool {
    let port = checkout.port("postgres");
    let url = format!("postgresql://{role}:{password}@127.0.0.1:{port}/postgres");
    let output = checkout.run(&["psql", "-d", &url, "-c", "SELECT 1"]);
    let said = text(&output.stderr);
    assert!(
        output.status.success() || said.contains("password authentication failed"),
        "{said}"
    );
    output.status.success()
}
