//! Backups: taken, proven, restored; and what must not lose anything.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::checkout::{Checkout, ended, eventually, interrupt, signal, text};
use crate::dev::crates;

const UP: [&str; 3] = ["up", "--native", "--infra"];

/// Rows, and a table that the services may read and not write.
const TABLES: &str = "
    CREATE TABLE kept (id int PRIMARY KEY, word text);
    INSERT INTO kept SELECT id, repeat('word', 100) FROM generate_series(1, 1000) AS id;
    CREATE TABLE guarded (id int);
    REVOKE INSERT, UPDATE, DELETE ON guarded FROM slipway_app;";

#[test]
fn what_was_backed_up_comes_back_with_its_rights() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    checkout.ok(&["psql", "-qc", TABLES]);
    let sums = "SELECT count(*), md5(string_agg(word, ',' ORDER BY id)) FROM kept";
    let before = checkout.ok(&["psql", "-Atc", sums]);
    let rights = checkout.ok(&["psql", "-Atc", r"\dp"]);
    let defaults =
        checkout.ok(&["psql", "-Atc", r"\ddp"]) + &checkout.ok(&["psql", "-Atc", r"\l slipway"]);

    let path = PathBuf::from(checkout.ok(&["db", "backup"]).trim());
    assert!(
        path.starts_with(checkout.root.join(".slipway/backups")),
        "{path:?}"
    );
    for file in [&path, &PathBuf::from(format!("{}.json", path.display()))] {
        assert_eq!(
            fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let listed: Value = serde_json::from_str(&checkout.ok(&["db", "backups", "--json"])).unwrap();
    assert_eq!(
        (
            &listed["backups"][0]["rows"],
            listed["backups"].as_array().unwrap().len()
        ),
        (&1000.into(), 1)
    );

    // What is written after the backup changes nothing about it.
    checkout.ok(&[
        "psql",
        "-qc",
        "DELETE FROM kept WHERE id > 10; DROP TABLE guarded; CREATE TABLE later ()",
    ]);
    let table = checkout.ok(&["db", "verify"]);
    let line = table.lines().find(|line| line.contains("kept")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["kept", "1000", "1000", "same"]
    );

    let document = checkout.ok(&["db", "verify", "--json"]);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["different"], serde_json::json!([]));

    checkout.ok(&["db", "restore", "latest", "--yes"]);
    assert_eq!(checkout.ok(&["psql", "-Atc", sums]), before);
    assert_eq!(checkout.ok(&["psql", "-Atc", r"\dp"]), rights);
    assert_eq!(
        checkout.ok(&["psql", "-Atc", r"\ddp"]) + &checkout.ok(&["psql", "-Atc", r"\l slipway"]),
        defaults
    );
    checkout.refused_by_psql("SELECT * FROM later");
    assert_eq!(databases(&checkout), ["slipway"]);

    // Without what was written down, it may be of anybody; when it is ours, it is told.
    let alone = checkout.root.join("alone.dump");
    let restore = ["db", "restore", "alone.dump", "--yes"];
    fs::copy(&path, &alone).unwrap();
    let said = checkout.refused(&restore);
    assert!(said.contains("no backup of this product"), "{said}");
    assert_eq!(checkout.ok(&["psql", "-Atc", sums]), before);
    let ledger = "CREATE TABLE _sqlx_migrations (version bigint, success bool);
                  INSERT INTO _sqlx_migrations VALUES (1, true)";
    checkout.ok(&["psql", "-qc", ledger]);
    let path = PathBuf::from(checkout.ok(&["db", "backup"]).trim());
    fs::copy(&path, &alone).unwrap();
    let said = text(&checkout.run(&restore).stderr);
    assert!(said.contains("is restored uncompared"), "{said}");
    assert_eq!(checkout.ok(&["psql", "-Atc", sums]), before);
}

#[test]
fn a_damaged_file_changes_nothing() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    checkout.ok(&["psql", "-qc", TABLES]);
    let good = checkout.root.join("good.dump");
    checkout.ok(&["db", "backup", good.to_str().unwrap()]);
    checkout.ok(&["psql", "-qc", "INSERT INTO kept VALUES (0, 'since')"]);

    let whole = fs::read(&good).unwrap();
    let described = fs::read_to_string(beside(&good)).unwrap();
    let damaged = |name: &str, bytes: &[u8], description: Option<&str>| {
        let path = checkout.root.join(name);
        fs::write(&path, bytes).unwrap();
        if let Some(description) = description {
            fs::write(beside(&path), description).unwrap();
        }
        path
    };
    let cut = &whole[..whole.len() / 2];
    let mut flipped = whole.clone();
    // In the data of `kept`: the contents' list before it and the end behind it stay readable.
    let at = whole.len() - 200;
    flipped[at] ^= 0xff;
    let cases = [
        (
            damaged("cut.dump", cut, Some(&described)),
            "is damaged: it has",
        ),
        (damaged("cut-alone.dump", cut, None), "nothing was changed"),
        (
            damaged("flipped.dump", &flipped, None),
            "nothing was changed",
        ),
        (damaged("text.dump", b"hello", None), "is no dump"),
        (
            damaged(
                "fewer.dump",
                &whole,
                Some(&described.replace("1000", "1001")),
            ),
            "kept",
        ),
    ];
    for (path, words) in &cases {
        let file = path.to_str().unwrap();
        for verb in [
            &["db", "restore", file, "--yes"][..],
            &["db", "verify", file],
        ] {
            let said = checkout.refused(verb);
            assert!(
                said.contains(words) && said.contains("next:"),
                "{verb:?}: {said}"
            );
        }
    }
    assert_eq!(
        checkout.ok(&["psql", "-Atc", "SELECT count(*) FROM kept"]),
        "1001\n"
    );
    assert_eq!(databases(&checkout), ["slipway"]);
    let again = checkout.refused(&["db", "backup", good.to_str().unwrap()]);
    assert!(again.contains("never overwritten"), "{again}");
    assert_eq!(fs::read(&good).unwrap(), whole);
}

#[test]
fn whoever_uses_the_database_is_not_sent_away_unasked() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    checkout.ok(&["psql", "-qc", TABLES]);
    checkout.ok(&["db", "backup"]);
    checkout.ok(&["psql", "-qc", "DELETE FROM kept"]);
    let mut prompt = Prompt::open(&checkout);
    assert_eq!(prompt.ask("SELECT 1;"), "1");

    let said = checkout.refused(&["db", "restore", "latest", "--yes"]);
    for words in [
        "in use",
        "slipway_owner (psql): 1",
        "restore latest --yes --force",
    ] {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
    assert_eq!(prompt.ask("SELECT count(*) FROM kept;"), "0");

    checkout.ok(&["db", "restore", "latest", "--yes", "--force"]);
    assert_eq!(
        checkout.ok(&["psql", "-Atc", "SELECT count(*) FROM kept"]),
        "1000\n"
    );
}

#[test]
fn what_is_interrupted_leaves_nothing_behind() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    // The index takes a minute anywhere but here, so that the copy is surely not whole yet; and
    // pg_dump locks a parent of partitions, whose rows nobody counts.
    checkout.ok(&[
        "psql",
        "-qc",
        "CREATE FUNCTION nap(id int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
           IF current_database() <> 'slipway' THEN PERFORM pg_sleep(60); END IF;
           RETURN id; END $$;
         CREATE TABLE slow (id int);
         INSERT INTO slow VALUES (1);
         CREATE INDEX ON slow (nap(id));
         CREATE TABLE parent (id int) PARTITION BY RANGE (id);",
    ]);
    checkout.ok(&["db", "backup"]);

    let verify = checkout.begin(&["db", "verify"]);
    eventually("the copy is being made", || databases(&checkout).len() == 2);
    let said = text(&interrupt(verify).stderr);
    eventually("the copy is dropped", || {
        databases(&checkout) == ["slipway"]
    });
    assert!(!said.contains("panicked"), "{said}");

    let mut prompt = Prompt::open(&checkout);
    prompt.ask("BEGIN; LOCK TABLE ONLY parent IN ACCESS EXCLUSIVE MODE; SELECT 'locked';");
    let backup = checkout.begin(&["db", "backup"]);
    let folder = checkout.root.join(".slipway/backups");
    let names = || {
        let entries = fs::read_dir(&folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    eventually("the dump is being written", || names().len() == 3);
    assert!(
        names().iter().any(|name| name.ends_with(".partial")),
        "{:?}",
        names()
    );
    interrupt(backup);
    eventually("half a file is removed", || names().len() == 2);
}

#[test]
fn a_reset_empties_both_or_changes_nothing() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    checkout.ok(&["psql", "-qc", TABLES]);
    checkout.ok(&["redis-cli", "SET", "job", "waits"]);
    // The migrator of this checkout does what it is told; the real one takes minutes to build.
    let folder = checkout.root.join("migrations");
    let package = "[workspace]\n[package]\nname = \"migrations\"\nedition = \"2024\"\n\
                   [[bin]]\nname = \"migrate\"\npath = \"migrations/migrate.rs\"\n";
    fs::write(checkout.root.join("Cargo.toml"), package).unwrap();
    let migrator = |action: &str| {
        let text = format!(
            "fn main() {{ std::fs::write(\"of\", std::env::var(\"DATABASE_NAME\").unwrap()).unwrap(); {action} }}"
        );
        fs::write(folder.join("migrate.rs"), text).unwrap();
    };
    let migrated = checkout.root.join("of");

    migrator("std::process::exit(1)");
    let said = checkout.refused(&["db", "reset", "--yes"]);
    assert!(said.contains("the database is as it was"), "{said}");
    let count = "SELECT count(*) FROM kept";
    assert_eq!(checkout.ok(&["psql", "-Atc", count]), "1000\n");
    assert_eq!(checkout.ok(&["redis-cli", "GET", "job"]), "waits\n");
    assert_eq!(databases(&checkout), ["slipway"]);

    // On Ctrl-C while they run, and in whatever way it ends then.
    fs::remove_file(&migrated).unwrap();
    migrator("std::thread::sleep(std::time::Duration::from_secs(60))");
    let reset = checkout.begin(&["db", "reset", "--yes"]);
    eventually("the migrations run", || migrated.exists());
    interrupt(reset);
    eventually("the new database is dropped", || {
        databases(&checkout) == ["slipway"]
    });
    assert_eq!(checkout.ok(&["psql", "-Atc", count]), "1000\n");
    assert_eq!(checkout.ok(&["redis-cli", "GET", "job"]), "waits\n");

    migrator("");
    checkout.ok(&["db", "reset", "--yes"]);
    let database = fs::read_to_string(migrated).unwrap();
    assert!(database.starts_with("slipway_emptied_"), "{database}");
    checkout.refused_by_psql(count);
    assert_eq!(checkout.ok(&["redis-cli", "DBSIZE"]), "0\n");
    assert_eq!(databases(&checkout), ["slipway"]);
}

#[test]
fn a_reset_that_is_interrupted_starts_what_it_has_stopped() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    crates(&checkout);
    checkout.ok(&["up", "--native"]);
    checkout.ok(&["redis-cli", "SET", "job", "waits"]);
    // Its queue cannot be emptied while it stands still.
    let redis = checkout.pid("redis").unwrap();
    signal("-STOP", &redis.to_string());
    let reset = checkout.begin(&["db", "reset", "--yes", "--force"]);
    // By then the new database is in the place of the old one.
    eventually("the queue is being emptied", || {
        let children = ["--ppid", &reset.id().to_string(), "-o", "comm="];
        let listed = Command::new("ps").args(children).output().unwrap();
        text(&listed.stdout).contains("redis-cli")
    });
    assert_eq!(checkout.service("api")["state"], "exited");
    // What empties Redis is done to its end, although it is in the middle of it.
    signal("-INT", &format!("-{}", reset.id()));
    signal("-CONT", &redis.to_string());
    let said = text(&ended(reset).stderr);
    assert!(said.contains("starting what was stopped"), "{said}");
    for name in ["api", "worker"] {
        assert_eq!(checkout.service(name)["health"], "healthy", "{name}");
    }
    assert_eq!(checkout.ok(&["redis-cli", "EXISTS", "job"]), "0\n");
    eventually("the old database is dropped", || {
        databases(&checkout) == ["slipway"]
    });
}

/// The names of all databases but those that every server has.
fn databases(checkout: &Checkout) -> Vec<String> {
    let sql = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1";
    let listed = checkout.ok(&["psql", "-d", "postgres", "-Atc", sql]);
    listed.lines().map(str::to_owned).collect()
}

fn beside(dump: &Path) -> PathBuf {
    PathBuf::from(format!("{}.json", dump.display()))
}

/// A session that stays.
struct Prompt {
    psql: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Prompt {
    fn open(checkout: &Checkout) -> Self {
        let mut psql = checkout
            .command(&["psql", "-XAtq"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(psql.stdout.take().unwrap());
        Self { psql, answers }
    }

    /// The first line of the answer.
    fn ask(&mut self, sql: &str) -> String {
        writeln!(self.psql.stdin.as_mut().unwrap(), "{sql}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        drop(self.psql.stdin.take());
        // It may have lost its connection, which is an error to it and none to the test.
        let _ = self.psql.wait();
    }
}
