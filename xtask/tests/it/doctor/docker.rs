//! What doctor says of Docker, and `up` before it starts.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;

use super::{Patient, worst};
use crate::checkout::{Checkout, text};

#[test]
fn a_machine_without_docker_is_told_from_one_whose_engine_is_not_running() {
    let patient = Patient::without_docker();
    patient
        .check("engine")
        .says("warn", "Docker is not installed", "docs.docker.com");
    let up = patient.command(&["up", "--docker"]).output().unwrap();
    assert_eq!(up.status.code(), Some(1));
    let said = text(&up.stderr);
    for part in [
        "Docker cannot be used: Docker is not installed",
        "next: ",
        "up --native",
    ] {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
}

/// With the `docker` of this machine, if it has one.
#[test]
fn an_engine_that_is_not_running_is_told_with_its_address() {
    if Command::new("docker").arg("--version").output().is_err() {
        eprintln!("not tested: there is no `docker` on this machine");
        return;
    }
    let checkout = Checkout::new();
    let socket = checkout.root.join("no.sock");
    let at = |words: &[&str]| {
        let mut command = checkout.command(words);
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        command.output().unwrap()
    };
    let not_running = "the Docker engine is not running at unix://";
    let engine = worst(&at(&["doctor", "--json"]).stdout, "engine");
    engine.says("warn", not_running, "DOCKER_HOST");
    let said = text(&at(&["up", "--docker"]).stderr);
    assert!(
        said.contains(&format!("Docker cannot be used: {not_running}")),
        "{said}"
    );

    // One that takes the connection and is silent, as an engine that hangs.
    let _listener = UnixListener::bind(&socket).unwrap();
    let engine = worst(&at(&["doctor", "--json"]).stdout, "engine");
    engine.says("warn", "gave no answer within", "restart");
}

#[test]
fn a_compose_that_is_missing_or_old_is_named_with_the_floor() {
    for (answer, finding) in [
        (
            "exit 1",
            "the plugin Docker Compose (>= 2.26) is not installed",
        ),
        (
            "echo 2.9.0",
            "Docker Compose is 2.9.0, and 2.26 is the oldest that will do",
        ),
    ] {
        let patient = Patient::with_docker(&format!("'compose version'*) {answer};;"));
        patient
            .check("compose")
            .says("warn", finding, "docker-compose-plugin");
        let said = patient.command(&["up", "--docker"]).output().unwrap();
        let said = text(&said.stderr);
        assert!(said.contains(finding) && said.contains("next: "), "{said}");
    }
}

#[test]
fn an_image_that_nobody_has_is_told_with_its_registry() {
    let patient = Patient::with_docker(
        "'image inspect'*) exit 1;;\n\
         'pull '*) echo 'dial tcp: lookup registry-1.docker.io: no such host' >&2; exit 1;;",
    );
    patient.check("images").says(
        "warn",
        "the image postgres:17 is not on this machine, and the registry docker.io cannot be reached",
        "docker load",
    );
}

#[test]
fn an_image_for_another_machine_is_told() {
    let patient = Patient::with_docker("'image inspect'*) echo arm64 postgres:17;;");
    patient.check("images").says(
        "warn",
        "for another machine than this amd64 one: postgres:17 (arm64)",
        "docker pull --platform linux/amd64 postgres:17",
    );
}

#[test]
fn an_engine_with_another_clock_or_little_memory_is_told() {
    let patient = Patient::with_docker(
        "'info '*) printf '26.1.5\\nx86_64\\n/nowhere\\n1073741824\\n2020-01-01T00:00:00Z\\n';;",
    );
    patient
        .check("clock")
        .says("fail", "behind this machine's", "restart Docker");
    patient
        .check("memory")
        .says("warn", "the engine has 1.0 GiB", "Resources");
    // Before anything is built.
    let up = patient.command(&["up", "--docker"]).output().unwrap();
    assert_eq!(up.status.code(), Some(1));
    let said = text(&up.stderr);
    assert!(said.contains("error: clock: the engine's is"), "{said}");
}

#[test]
fn two_checkouts_with_one_name_are_kept_apart() {
    let other = Checkout::new();
    fs::create_dir(other.root.join(".slipway")).unwrap();
    let answer = format!("'ps --all'*) echo {};;", other.root.display());
    let patient = Patient::with_docker(&answer);
    let state = json!({ "root": patient.checkout.root, "mode": "docker" });
    let folder = patient.checkout.root.join(".slipway");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("state.json"), state.to_string()).unwrap();
    for words in [
        &["up", "--docker"][..],
        &["down", "--volumes", "--yes"],
        &["db", "reset", "--yes", "--force"],
        &["db", "rotate-password"],
    ] {
        let output = patient.command(words).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let said = text(&output.stderr);
        let belongs = format!("belong to the checkout at {}", other.root.display());
        assert!(
            said.contains(&belongs) && said.contains("COMPOSE_PROJECT_NAME"),
            "{said}"
        );
    }
    assert!(
        !patient.checkout.root.join("secrets").exists(),
        "made by an `up` that was refused"
    );
    patient
        .check("name")
        .says("fail", "belong to the checkout at", "COMPOSE_PROJECT_NAME");
}
