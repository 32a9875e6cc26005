//! `logs`, of native servers and of services that are only files.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::checkout::{Checkout, eventually, signal, text};

const UP: [&str; 3] = ["up", "--native", "--infra"];

#[test]
fn logs_are_those_of_the_services_named() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    let all = checkout.ok(&["logs"]);
    assert!(
        all.contains("postgres | ") && all.contains("redis    | "),
        "{all}"
    );
    assert!(!checkout.ok(&["logs", "redis"]).contains("postgres"));
    assert_eq!(
        checkout.ok(&["logs", "-n", "1", "redis"]).lines().count(),
        1
    );
    let said = checkout.refused(&["logs", "radish"]);
    assert!(
        said.contains("no service `radish`; did you mean `redis`?")
            && said.contains("api, worker, supervisor"),
        "{said}"
    );
    restarts_are_followed(&checkout);
    an_error_of_postgres_passes_its_level(&checkout);
}

fn restarts_are_followed(checkout: &Checkout) {
    let mut command = checkout.command(&["logs", "-f", "-n", "0", "redis"]);
    let mut follower = command.stdout(Stdio::piped()).spawn().unwrap();
    let out = follower.stdout.take().unwrap();
    checkout.ok(&["restart", "redis"]);
    let mut lines = BufReader::new(out).lines().map(Result::unwrap);
    for part in ["ready to exit", "Ready to accept connections"] {
        assert!(lines.any(|line| line.contains(part)), "{part}");
    }
    signal("-INT", &follower.id().to_string());
    // By the signal itself, which a shell shows as 130.
    assert_eq!(follower.wait().unwrap().code(), None);
}

fn an_error_of_postgres_passes_its_level(checkout: &Checkout) {
    checkout.refused(&["psql", "-c", "SELECT lost FROM nowhere"]);
    let errors = checkout.ok(&["logs", "--level", "error", "postgres"]);
    assert!(
        errors.contains("ERROR:") && errors.contains("STATEMENT:  SELECT lost"),
        "{errors}"
    );
    assert!(!errors.contains("LOG:"), "{errors}");
}

/// The API's and the worker's logs, written by the test.
#[test]
fn lines_of_our_services_are_readable_or_raw() {
    let checkout = Checkout::new();
    let folder = checkout.root.join(".slipway/logs");
    fs::create_dir_all(&folder).unwrap();
    let state = format!(r#"{{"root": {:?}, "mode": "native"}}"#, checkout.root);
    fs::write(checkout.root.join(".slipway/state.json"), state).unwrap();
    let line = |second: u32, level: &str, more: &str| {
        format!(
            r#"{{"timestamp":"2025-11-22T10:00:{second:02}Z","level":"{level}","target":"here","message":"line {second}"{more}}}"#
        )
    };
    let failure = line(
        2,
        "ERROR",
        r#","error":"cannot ask: refused","request.id":"r-1""#,
    );
    let api = [line(1, "INFO", ""), failure.clone(), line(4, "INFO", "")].join("\n");
    fs::write(folder.join("api.log"), api + "\n").unwrap();
    fs::write(folder.join("worker.log"), line(3, "WARN", "") + "\n").unwrap();

    assert_eq!(
        checkout.ok(&["logs", "api", "worker"]),
        "api    | 2025-11-22 10:00:01.000  INFO line 1  here\n\
         api    | 2025-11-22 10:00:02.000 ERROR line 2  here  request=r-1\n\
         api    |     cannot ask:\n\
         api    |       refused\n\
         worker | 2025-11-22 10:00:03.000  WARN line 3  here\n\
         api    | 2025-11-22 10:00:04.000  INFO line 4  here\n"
    );
    let raw = ["logs", "--raw", "--level", "error"];
    assert_eq!(checkout.ok(&raw), failure + "\n");
    let since = ["logs", "--raw", "--since", "2025-11-22T11:00:03+01:00"];
    assert_eq!(checkout.ok(&since).lines().count(), 2);
    assert_eq!(
        checkout.run(&["logs", "--since", "10"]).status.code(),
        Some(2)
    );
    assert_eq!(checkout.ok(&["logs", "--since", "1s"]), "");

    a_rotated_log_is_followed(&checkout);
    a_reader_may_leave(&checkout);
}

fn a_rotated_log_is_followed(checkout: &Checkout) {
    let log = checkout.root.join(".slipway/logs/api.log");
    let mut command = checkout.command(&["logs", "-f", "-n", "0", "--raw", "api"]);
    let mut follower = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // Until it is at the end of the file: it then sees what is appended.
    let mut number = 0;
    let mut writer = fs::File::options().append(true).open(&log).unwrap();
    let (sender, seen) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            let _ = sender.send(line);
        }
    });
    eventually("the follower follows", || {
        number += 1;
        writeln!(writer, "before {number}").unwrap();
        seen.try_recv().is_ok()
    });
    // As the supervisor does it: copied aside with a last line, and emptied.
    writeln!(writer, "last").unwrap();
    fs::copy(&log, log.with_extension("log.1")).unwrap();
    fs::File::options()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(0)
        .unwrap();
    writeln!(writer, "first").unwrap();
    let rest: Vec<String> = seen.iter().take_while(|line| line != "first").collect();
    assert_eq!(rest.last().map(String::as_str), Some("last"), "{rest:?}");
    follower.kill().unwrap();
    follower.wait().unwrap();
    reader.join().unwrap();
}

fn a_reader_may_leave(checkout: &Checkout) {
    let mut command = checkout.command(&["logs"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(text(&output.stderr), "");
}
