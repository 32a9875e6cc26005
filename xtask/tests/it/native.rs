//! Native servers under their supervisor. One test each for what must survive what.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use crate::checkout::{Checkout, eventually, kill};

const UP: [&str; 3] = ["up", "--native", "--infra"];

#[test]
fn servers_come_up_healthy_and_leave_nothing_behind() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    let page = checkout.ok(&UP);
    assert!(
        page.contains("postgres") && page.contains("healthy"),
        "{page}"
    );
    for name in ["postgres", "redis"] {
        let service = checkout.service(name);
        assert_eq!(
            (&service["state"], &service["health"]),
            (&"running".into(), &"healthy".into())
        );
        assert!(
            service["address"]
                .as_str()
                .unwrap()
                .starts_with("127.0.0.1:")
        );
    }
    assert_eq!(
        checkout.ok(&["psql", "-Atc", "SELECT current_user"]),
        "slipway_owner\n"
    );
    assert_eq!(checkout.ok(&["redis-cli", "ACL", "WHOAMI"]), "slipway\n");

    checkout.ok(&["down"]);
    eventually("all processes are gone", || checkout.processes().is_empty());
    assert_eq!(
        checkout.ok(&["ps", "--json"]),
        "{\"mode\":\"native\",\"services\":[]}\n"
    );
    for words in [
        &["ps"][..],
        &["wait"],
        &["open"],
        &["psql"],
        &["redis-cli"],
        &["restart"],
        &["migrate", "status"],
        &["db", "backup"],
        &["jobs"],
    ] {
        let said = checkout.refused(words);
        let expected = "error: nothing runs here\n  next: `cargo xtask up` starts it";
        assert!(said.contains(expected), "{words:?}: {said}");
    }
    let never = checkout.run(&["wait", "--timeout", "18446744073709551615"]);
    assert_eq!(never.status.code(), Some(2));
}

#[test]
fn data_stays_after_down_and_goes_with_its_volumes() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    checkout.ok(&["psql", "-c", "CREATE TABLE kept (id int)"]);
    checkout.ok(&["redis-cli", "SET", "kept", "yes"]);
    checkout.ok(&["down"]);
    checkout.ok(&UP);
    assert_eq!(
        checkout.ok(&["psql", "-Atc", "SELECT count(*) FROM kept"]),
        "0\n"
    );
    assert_eq!(checkout.ok(&["redis-cli", "GET", "kept"]), "yes\n");

    assert!(checkout.refused(&["down", "--volumes"]).contains("--yes"));
    checkout.ok(&["down", "--volumes", "--yes"]);
    checkout.ok(&UP);
    checkout.refused(&["psql", "-c", "SELECT * FROM kept"]);
}

#[test]
fn a_second_up_leaves_what_runs_alone() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    let before = (checkout.pid("postgres"), checkout.pid("redis"));
    checkout.ok(&UP);
    assert_eq!((checkout.pid("postgres"), checkout.pid("redis")), before);

    checkout.ok(&["restart", "redis"]);
    assert_eq!(checkout.pid("postgres"), before.0);
    assert_ne!(checkout.pid("redis"), before.1);
    assert!(
        checkout
            .refused(&["restart", "radish"])
            .contains("postgres, redis")
    );
}

#[test]
fn a_crashed_service_is_started_again() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    let before = checkout.pid("redis");
    kill(before.unwrap());
    eventually("redis is back", || {
        let now = checkout.pid("redis");
        now.is_some() && now != before && checkout.service("redis")["health"] == "healthy"
    });
}

#[test]
fn a_full_disk_ends_no_service() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    // Its log takes nothing, where the system has such a file.
    let full = fs::File::options().write(true).open("/dev/full");
    let log = full.map_or_else(|_| Stdio::null(), Stdio::from);
    fs::create_dir_all(checkout.root.join(".slipway/logs")).unwrap();
    let root = checkout.root.display().to_string();
    let mut supervisor = checkout.command(&["supervise", &root]);
    let mut supervisor = supervisor.stderr(log).spawn().unwrap();
    checkout.ok(&UP);
    let (postgres, redis) = (checkout.pid("postgres"), checkout.pid("redis"));

    // Nor its record: a folder cannot be replaced by a file.
    let record = checkout.root.join(".slipway/native/processes.json");
    fs::remove_file(&record).unwrap();
    fs::create_dir(&record).unwrap();
    kill(redis.unwrap());
    eventually("redis is back", || {
        let log = fs::read_to_string(checkout.root.join(".slipway/logs/redis.log"));
        let starts = log.unwrap().matches("Server initialized").count();
        starts == 2 && checkout.service("redis")["health"] == "healthy"
    });
    fs::remove_dir(&record).unwrap();
    eventually("the record is there again", || record.is_file());
    assert_eq!(checkout.pid("postgres"), postgres);
    assert_ne!(checkout.pid("redis"), redis);
    assert!(supervisor.try_wait().unwrap().is_none());
    checkout.ok(&["down"]);
    assert!(supervisor.wait().unwrap().success());
}

#[test]
fn what_a_killed_supervisor_left_is_taken_over_or_stopped() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    let address = checkout.service("redis")["address"].clone();
    kill(checkout.supervisor());
    checkout.ok(&UP);
    assert_eq!(
        checkout.service("redis")["address"],
        address,
        "it came back elsewhere"
    );
    assert_eq!(checkout.ok(&["psql", "-Atc", "SELECT 1"]), "1\n");

    kill(checkout.supervisor());
    checkout.ok(&["down"]);
    eventually("all processes are gone", || checkout.processes().is_empty());
}

#[test]
fn a_service_that_cannot_start_is_named_with_its_last_words() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    let config = checkout.root.join("docker/redis.conf");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{good}no-such-directive yes\n")).unwrap();
    let said = checkout.refused(&UP);
    for part in [
        "redis exited with code 1 at its start: it refuses its configuration",
        "no-such-directive",
        "next:",
    ] {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
    fs::write(&config, good).unwrap();
    checkout.ok(&UP);
}

#[test]
fn a_part_comes_up_is_waited_for_and_has_an_address() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    let said = checkout.refused(&["up", "--native", "radish"]);
    assert!(said.contains("one of postgres, redis, migrate"), "{said}");
    let page = checkout.ok(&["up", "--native", "redis", "--wait-timeout", "60"]);
    assert!(
        page.contains("redis") && !page.contains("postgres"),
        "{page}"
    );

    checkout.ok(&["wait", "redis"]);
    let address = checkout.service("redis")["address"].clone();
    let opened = checkout.ok(&["open", "redis"]);
    assert_eq!(opened.trim_end(), address.as_str().unwrap());
    let said = checkout.refused(&["open", "docs"]);
    assert!(
        said.contains("next: name one of") && said.contains("redis"),
        "{said}"
    );

    // One that cannot come back is not waited for longer than was said.
    let config = checkout.root.join(".slipway/native/redis.conf");
    fs::write(&config, "no-such-directive yes\n").unwrap();
    kill(checkout.pid("redis").unwrap());
    eventually("redis is down", || {
        checkout.service("redis")["state"] != "running"
    });
    let said = checkout.refused(&["wait", "--timeout", "1"]);
    assert!(said.contains("not healthy after 1 s: redis"), "{said}");
    assert!(said.contains("cargo xtask logs redis"), "{said}");
}

#[test]
fn a_number_of_processes_is_refused_where_it_makes_no_sense() {
    let checkout = Checkout::new();
    for (scale, part) in [("postgres=2", "keeps data"), ("api=2", "share one port")] {
        let said = checkout.refused(&["up", "--native", "--scale", scale]);
        assert!(said.contains(part) && said.contains("next: "), "{said}");
    }
    let output = checkout.run(&["up", "--scale", "worker"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn no_secret_is_in_a_process_list_or_an_environment() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    let secrets: Vec<String> = [
        "postgres_superuser_password",
        "postgres_owner_password",
        "redis_password",
    ]
    .iter()
    .map(|name| fs::read_to_string(checkout.root.join("secrets").join(name)).unwrap())
    .collect();
    for pid in checkout.processes() {
        for file in ["cmdline", "environ"] {
            let mut bytes = Vec::new();
            if let Ok(mut file) = fs::File::open(format!("/proc/{pid}/{file}")) {
                file.read_to_end(&mut bytes).unwrap();
            }
            let held = String::from_utf8_lossy(&bytes);
            assert!(
                secrets.iter().all(|secret| !held.contains(secret)),
                "{file} of {pid} holds a secret"
            );
        }
    }
}
