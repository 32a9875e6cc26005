use super::*;

fn container(state: &str, health: &str) -> Container {
    let line = serde_json::json!({"ID": "1", "Service": "api", "State": state, "Health": health});
    containers::parse(&line.to_string()).unwrap().remove(0)
}

fn details(state: &serde_json::Value, restarts: u32) -> Details {
    Details::from_json(&serde_json::json!({"RestartCount": restarts, "State": state}))
}

#[test]
fn a_port_that_was_taken_meanwhile_is_told_without_the_engine() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = not_started(&format!(
        "driver failed programming external connectivity on endpoint shop-api-1 (26aa4): \
         Bind for 127.0.0.1:{port} failed: port is already allocated"
    ));
    assert!(
        said.starts_with(&format!("was not started: port {port} is taken by `")),
        "{said}"
    );
    assert_eq!(
        not_started("no such device"),
        "was not started: no such device"
    );
}

#[test]
fn each_way_to_fail_has_its_words() {
    let cases = [
        (
            "exited",
            "",
            serde_json::json!({"ExitCode": 3}),
            0,
            Some("exited with code 3"),
        ),
        (
            "restarting",
            "",
            serde_json::json!({"ExitCode": 1}),
            4,
            Some("exits with code 1 at every start"),
        ),
        (
            "running",
            "starting",
            serde_json::json!({}),
            0,
            Some("did not become healthy in time"),
        ),
        ("running", "healthy", serde_json::json!({}), 0, None),
        ("created", "", serde_json::json!({}), 0, None),
    ];
    for (state, health, inspected, restarts, expected) in cases {
        let cause = cause(&container(state, health), &details(&inspected, restarts));
        assert_eq!(cause.as_deref(), expected, "{state} {health}");
    }
    let killed = details(&serde_json::json!({"OOMKilled": true, "ExitCode": 137}), 0);
    let cause = cause(&container("exited", ""), &killed).unwrap();
    assert!(cause.contains("memory"), "{cause}");
    assert!(next_step("api", &killed, true).contains("memory limit of `api`"));
}

#[test]
fn known_last_words_become_a_cause_and_a_step() {
    let said = vec![
        "api: 1 setting is wrong:".to_owned(),
        "  LOG_LEVEL  no".to_owned(),
    ];
    let one = container("exited", "");
    let inspected = details(&serde_json::json!({"ExitCode": 1}), 0);
    let failure = told(&one, &inspected, false, "exited with code 1", &said);
    assert_eq!(
        failure.cause,
        "exited with code 1: it refuses the setting LOG_LEVEL"
    );
    assert!(failure.next_step.contains(".env"), "{}", failure.next_step);
}

#[test]
fn what_we_have_interrupted_is_late_and_not_canceled() {
    let inspected = details(&serde_json::json!({"Error": "context canceled"}), 0);
    for (state, health, expected) in [
        ("created", "", Some("was not started in time")),
        (
            "running",
            "starting",
            Some("did not become healthy in time"),
        ),
        ("running", "healthy", None),
    ] {
        let one = container(state, health);
        let cause = cause(&one, &inspected).or_else(|| not_yet(&one));
        assert_eq!(cause.as_deref(), expected, "{state} {health}");
        assert_eq!(is_slow(&one, &inspected), expected.is_some());
    }
    let refused = details(&serde_json::json!({"Error": "no such device"}), 0);
    let words = cause(&container("created", ""), &refused);
    assert_eq!(words.as_deref(), Some("was not started: no such device"));
    assert_eq!(
        of_all(Duration::from_secs(300)).to_string(),
        "the services were not healthy in time\n  \
         next: `cargo xtask up --wait-timeout 600` waits longer"
    );
}

#[test]
fn composes_own_words_are_kept_without_its_progress() {
    let said = [" Container a-api-1  Created", "no such network"].map(str::to_owned);
    let error = of_compose("up --detach", &said).to_string();
    assert_eq!(
        error,
        "`docker compose up --detach` failed: no such network"
    );
}
