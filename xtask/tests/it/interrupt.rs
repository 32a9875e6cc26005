//! Ctrl-C: what was begun is taken back, what was there before stays.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::checkout::{Checkout, ended, eventually, interrupt, signal, text};

const UP: [&str; 3] = ["up", "--native", "--infra"];

#[test]
fn an_up_that_is_interrupted_leaves_nothing_half_up() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    // A Redis that answers no PING is never healthy, so that `up` waits for it.
    let config = checkout.root.join("docker/redis.conf");
    let good = fs::read_to_string(&config).unwrap();
    let mute = format!("{good}rename-command PING \"\"\n");
    fs::write(&config, &mute).unwrap();
    // The second time with nobody who listens: Ctrl-C ends a `| tee` as well.
    for is_heard in [true, false] {
        assert_eq!(interrupted_up(&checkout, is_heard), Some(130));
        assert_eq!(checkout.processes(), [0; 0]);
    }
    assert!(checkout.root.join(".slipway/data").is_dir(), "data is kept");

    fs::write(&config, &good).unwrap();
    checkout.ok(&UP);
    let before = checkout.pid("postgres");
    fs::write(&config, &mute).unwrap();
    // There is nothing to be done, so the signal itself ends it: a shell shows 130 as well.
    assert_eq!(interrupted_up(&checkout, true), None);
    assert_eq!(checkout.pid("postgres"), before, "it was there before");
    fs::write(&config, &good).unwrap();
}

#[test]
fn a_database_that_is_half_made_leaves_no_password_behind() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    for name in ["-INT", "-TERM"] {
        let up = checkout.begin(&UP);
        let data = || {
            let state = fs::read_to_string(checkout.root.join(".slipway/state.json")).ok()?;
            let state: Value = serde_json::from_str(&state).ok()?;
            Some(PathBuf::from(state["postgres_data"].as_str()?))
        };
        let password = || data().map(|data| data.with_extension("password"));
        eventually("initdb runs", || {
            password().is_some_and(|file| file.exists())
        });
        // To `up` alone: initdb has to be ended by it.
        signal(name, &up.id().to_string());
        let said = text(&ended(up).stderr);
        assert!(!said.contains("error:"), "{said}");
        assert_eq!(checkout.processes(), [0; 0]);
        let left: Vec<_> = fs::read_dir(data().unwrap().parent().unwrap())
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
    checkout.ok(&UP);
}

#[test]
fn an_up_waits_for_another_and_leaves_it_alone() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    let config = checkout.root.join("docker/redis.conf");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{good}rename-command PING \"\"\n")).unwrap();
    let first = begun_up(&checkout);
    let before = checkout.pid("postgres");
    let mut second = checkout.begin(&UP);
    let mut lines = BufReader::new(second.stderr.as_mut().unwrap()).lines();
    let said = lines.next().unwrap().unwrap();
    assert!(said.contains("another `up`"), "{said}");
    assert_eq!(code(second), None);
    assert_eq!(checkout.pid("postgres"), before, "it is the first one's");
    assert_eq!(code(first), Some(130));
    assert_eq!(checkout.processes(), [0; 0]);
}

/// Begins an `up`, interrupts it while it waits for Redis, and returns its exit code.
fn interrupted_up(checkout: &Checkout, is_heard: bool) -> Option<i32> {
    let mut up = begun_up(checkout);
    if !is_heard {
        drop(up.stderr.take());
    }
    code(up)
}

/// An `up` that waits for Redis.
fn begun_up(checkout: &Checkout) -> Child {
    let up = checkout.begin(&UP);
    eventually("redis runs, without an answer", || {
        let output = checkout.run(&["ps", "--json"]);
        let page = text(&output.stdout);
        page.contains(r#""name":"redis","state":"running","health":"starting""#)
    });
    up
}

/// As Ctrl-C does it. Returns the exit code; none when the signal itself has ended the process.
fn code(up: Child) -> Option<i32> {
    let output = interrupt(up);
    let said = text(&output.stderr);
    assert!(!said.contains("error:"), "{said}");
    output.status.code()
}

#[test]
fn servers_for_tests_are_gone_when_nobody_waits_for_them() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    let mut command = checkout.command(&["throw-away"]);
    let mut keeper = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever asked is gone while the servers start.
    drop((keeper.stdin.take(), keeper.stdout.take()));
    assert!(keeper.wait().unwrap().success());
    let folder = std::env::temp_dir().join(format!("slipway-test-{}", keeper.id()));
    assert!(!folder.exists());
}
