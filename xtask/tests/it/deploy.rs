//! What `deploy` checks before it deploys, one missing thing after another.
//!
//! The engine is a script that answers what the test wants: a machine has one Swarm, and it may be
//! somebody's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::checkout::{Checkout, text};

/// Answers from files beside it: `info`, `node-ls`, ... A call without one fails.
const ENGINE: &str = r#"#!/bin/sh
echo "$@" >> "$0.calls"
answer="$0.$1"
case $1 in info) ;; *) answer="$answer-$2" ;; esac
[ -f "$answer" ] || exit 1
cat "$answer"
"#;

/// What `docker stack config` would print.
const CONFIG: &str = "services:\n  api:\n    image: x\n  migrate:\n    image: x\n  postgres:\n    \
                      image: y\nsecrets:\n  a:\n    file: /a\n";

fn checkout() -> Checkout {
    let checkout = Checkout::new();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for file in ["docker/stack.yml", "docker/nginx/nginx.conf.template"] {
        let copy = checkout.root.join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(project.join(file), copy).unwrap();
    }
    fs::create_dir(checkout.root.join("bin")).unwrap();
    let engine = checkout.root.join("bin/docker");
    fs::write(&engine, ENGINE).unwrap();
    fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
    checkout
}

/// Lets the engine answer a call so.
fn answer(checkout: &Checkout, call: &str, text: &str) {
    fs::write(checkout.root.join(format!("bin/docker.{call}")), text).unwrap();
}

/// What the command prints and says, and whether it succeeds.
fn run(checkout: &Checkout, words: &[&str]) -> (bool, String) {
    let bin = checkout.root.join("bin");
    let output = checkout
        .command(words)
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .output()
        .unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.success(), said)
}

/// What is missing, and what to do about it.
#[track_caller]
fn missing(checkout: &Checkout, finding: &str, next: &str) {
    let (succeeded, said) = run(checkout, &["deploy"]);
    assert!(!succeeded, "{said}");
    assert!(said.contains(finding), "{finding:?} is missing: {said}");
    assert!(
        said.contains(&format!("next: {next}")),
        "{next:?} is missing: {said}"
    );
}

#[test]
fn each_missing_thing_is_named_with_what_to_do() {
    let checkout = checkout();
    let env = |text: &str| fs::write(checkout.root.join(".env"), text).unwrap();
    missing(&checkout, "APP_ENV is neither", "set APP_ENV=production");
    env("APP_ENV=staging\nSMTP_USER=ann\n");
    missing(
        &checkout,
        "PUBLIC_URL     the address in links",
        "write them into .env",
    );
    let settings = "APP_ENV=staging\nSMTP_USER=ann\nSMTP_HOST=mail\nPUBLIC_URL=https://a.example\n\
                    SLIPWAY_IMAGE=shop:1\n";
    env(settings);
    missing(
        &checkout,
        "secrets/postgres_superuser_password is not there",
        "bring secrets/ along",
    );

    let secrets = checkout.root.join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    for name in [
        "jwt_secret",
        "postgres_app_password",
        "postgres_owner_password",
        "postgres_superuser_password",
        "redis_password",
        "redis_users.acl",
        "webhook_secret",
    ] {
        fs::write(secrets.join(name), "x").unwrap();
    }
    fs::write(secrets.join("smtp_password"), "").unwrap();
    missing(
        &checkout,
        "secrets/smtp_password is not there",
        "printf %s VALUE",
    );
    fs::write(secrets.join("smtp_password"), "x").unwrap();

    missing(&checkout, "no Docker engine answers", "start it");
    answer(&checkout, "info", "inactive false\n");
    missing(&checkout, "in no Swarm", "docker swarm init");
    answer(&checkout, "info", "active false\n");
    missing(
        &checkout,
        "only a manager may deploy",
        "run it on a manager",
    );
    answer(&checkout, "info", "active true\n");
    answer(&checkout, "node-ls", "one\ntwo\n");
    missing(
        &checkout,
        "shop:1 is neither on this machine nor",
        "docker build",
    );
    answer(&checkout, "image-inspect", "sha256:1\n");
    missing(&checkout, "the Swarm has 2", "docker push shop:1");

    // On a machine alone it may stay where it was built.
    answer(&checkout, "node-ls", "one\n");
    answer(&checkout, "stack-config", CONFIG);
    fs::remove_file(checkout.root.join("bin/docker.calls")).unwrap();
    let (succeeded, said) = run(&checkout, &["deploy", "--dry-run"]);
    assert!(succeeded, "{said}");
    let stages: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("docker stack deploy"))
        .collect();
    assert_eq!(stages.len(), 3, "{said}");
    for (stage, file) in stages
        .iter()
        .zip(["1-data.yml", "2-migrate.yml", "3-services.yml"])
    {
        assert!(
            stage.contains(file) && stage.contains("--resolve-image never"),
            "{stage}"
        );
    }
    let calls = fs::read_to_string(checkout.root.join("bin/docker.calls")).unwrap();
    assert!(!calls.contains("stack deploy"), "it was a dry run: {calls}");
    let stage = fs::read_to_string(checkout.root.join(".slipway/deploy/2-migrate.yml")).unwrap();
    assert!(
        stage.contains("  migrate:") && !stage.contains("  api:"),
        "{stage}"
    );
    assert!(said.contains("SLIPWAY_IMAGE=shop:1"), "{said}");

    for words in [&["deploy", "status"], &["deploy", "rollback"]] {
        let (succeeded, said) = run(&checkout, words);
        assert!(!succeeded && said.contains("nothing is deployed"), "{said}");
    }
}
