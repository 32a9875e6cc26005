//! Holds the invariants of `ARCHITECTURE.md`: each test is one of them.
//!
//! They read `cargo metadata` and the sources as text, so that a shortcut that
//! compiles is still refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Crates of the workspace, in the order of the layers.
const MEMBERS: [&str; 9] = [
    "api",
    "chaos",
    "domain",
    "migrations",
    "outbox",
    "queue",
    "service",
    "worker",
    "xtask",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .to_path_buf()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file below `folder` with one of the extensions, as (path, text).
fn files(folder: &str, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
            {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
            }
        }
    }
    found.sort();
    found
}

/// The part of a source file that ships: everything before its unit tests.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

/// All packages that `name` is built from, without development dependencies.
fn dependencies(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", name, "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|package| *package != name)
        .map(str::to_owned)
        .collect()
}

fn assert_independent(name: &str, of: &[&str]) {
    let all = dependencies(name);
    for other in of {
        assert!(!all.contains(*other), "{name} must not depend on {other}");
    }
}

#[test]
fn the_layers_know_nothing_of_those_above_them() {
    assert_independent("queue", &["axum", "sqlx", "domain", "service", "outbox"]);
    assert_independent("outbox", &["axum", "domain", "service", "api", "worker"]);
    assert_independent("domain", &["axum", "service", "api", "worker"]);
    assert_independent("service", &["domain", "queue", "outbox", "api", "worker"]);
    assert_independent("api", &["worker", "lettre"]);
    assert_independent("worker", &["api", "jsonwebtoken"]);
}

#[test]
fn the_command_depends_on_nothing_that_takes_long_to_compile() {
    assert_independent("xtask", &["sqlx", "tokio", "axum", "redis"]);
    assert_independent("xtask", &MEMBERS.map(|m| if m == "xtask" { "" } else { m }));
}

#[test]
fn the_api_never_runs_a_job_and_never_migrates() {
    for (path, text) in files("api/src", &["rs"]) {
        for word in ["queue::Worker", "Registry", "MIGRATOR", "Migrator"] {
            assert!(!text.contains(word), "{} mentions {word}", path.display());
        }
    }
    for (path, text) in files("worker/src", &["rs"]) {
        for word in ["MIGRATOR", "Migrator"] {
            assert!(!text.contains(word), "{} mentions {word}", path.display());
        }
    }
}

/// Each handler says its route in its first line; as many post as the routers name.
#[test]
fn an_admins_page_knows_its_admin_and_each_act_is_recorded() {
    let (mut posts, mut routed) = (0, 0);
    for (path, text) in files("api/src/routes/admin", &["rs"]) {
        routed += text.matches("post(").count();
        let is_asset = path.ends_with("asset.rs");
        if is_asset || path.components().any(|part| part.as_os_str() == "sign_in") {
            // How one looks is no secret, and who signs in is nobody yet.
            posts += text.matches("/// `POST ").count();
            continue;
        }
        for handler in text.split("/// `GET ").skip(1) {
            let its = handler.split("/// `").next().unwrap_or_default();
            assert!(its.contains(": SignedIn"), "{}: {its}", path.display());
        }
        for handler in text.split("/// `POST ").skip(1) {
            let its = handler.split("/// `").next().unwrap_or_default();
            let is_recorded = its.contains(".record(") || its.contains(" act(");
            let is_held = its.contains(": Confirmed<") && is_recorded;
            assert!(is_held, "{}: {its}", path.display());
            posts += 1;
        }
    }
    assert!(posts > 5 && posts == routed, "{posts} of {routed}");
}

/// That the one listener is on loopback is refused or granted by the settings,
/// and tested with them. The other one is that of `service::metrics`, which answers one path.
#[test]
fn the_worker_listens_for_its_probes_alone() {
    let mut listeners = Vec::new();
    for (path, text) in files("worker/src", &["rs"]) {
        let text = shipped(&text);
        assert!(!text.contains("axum::serve"), "{}", path.display());
        for line in text.lines().filter(|line| line.contains("Listener::bind(")) {
            listeners.push(line.trim().to_owned());
        }
    }
    assert_eq!(listeners.len(), 1, "{listeners:?}");
    assert!(read("worker/src/main.rs").contains("let addr = settings.worker.health_addr;"));
}

#[test]
fn metrics_are_told_on_a_listener_of_their_own_that_is_not_published() {
    let routes: Vec<_> = files("service/src/metrics", &["rs"])
        .into_iter()
        .flat_map(|(_, text)| {
            let routes = text.lines().filter(|line| line.contains(".route("));
            routes
                .map(|line| line.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(routes, [r#".route("/metrics", get(show))"#]);
    for (path, text) in files("api/src", &["rs"]) {
        assert!(!text.contains("\"/metrics"), "{}", path.display());
    }
    for file in [
        "docker-compose.yml",
        "docker-compose.dev.yml",
        "docker/stack.yml",
    ] {
        let text = read(file);
        let published = ["9464:", ":9464\"", "target: 9464", "published: 9464"];
        for word in published {
            assert!(!text.contains(word), "{file} publishes the metrics");
        }
    }
}

/// That each address is checked before is tested with the worker.
#[test]
fn urls_of_strangers_are_called_in_one_place() {
    let mut callers = BTreeSet::new();
    for folder in ["api/src", "domain/src", "outbox/src", "worker/src"] {
        for (path, text) in files(folder, &["rs"]) {
            let calls = [
                "TcpStream::connect",
                "lookup_host",
                "client::conn",
                "reqwest",
            ]
            .iter()
            .any(|word| shipped(&text).contains(word));
            if calls {
                callers.insert(path.parent().unwrap().to_path_buf());
            }
        }
    }
    assert_eq!(callers, [PathBuf::from("worker/src/webhook")].into());
    assert_independent("worker", &["reqwest", "ureq", "minreq"]);
}

#[test]
fn only_the_settings_read_the_environment() {
    for member in MEMBERS.iter().filter(|m| **m != "xtask") {
        for (path, text) in files(&format!("{member}/src"), &["rs"]) {
            let allowed = path.starts_with("service/src/settings")
                || path == Path::new("service/src/settings.rs")
                // What tests read to find their servers; not in a shipped binary.
                || path.ends_with("testing.rs");
            let reads = ["env::var", "env::vars", "env::var_os", "dotenv"]
                .iter()
                .any(|word| shipped(&text).contains(word));
            assert!(
                allowed || !reads,
                "{} reads the environment",
                path.display()
            );
        }
    }
}

#[test]
fn one_builder_composes_every_compose_call() {
    // As an argument of `docker`; `doctor` has a finding of this name.
    let calls = ["[\"compose\"", "arg(\"compose\"", "\"compose\".to_owned()"];
    let builders: Vec<_> = files("xtask/src", &["rs"])
        .into_iter()
        .filter(|(_, text)| calls.iter().any(|call| shipped(text).contains(call)))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(builders, [Path::new("xtask/src/docker/compose.rs")]);
}

#[test]
fn sql_stands_in_one_place_each_and_below_the_services() {
    let mut statements = 0;
    // The harness asks for what only it has made: its effects, and what is left at the end.
    let shipped_members = MEMBERS.iter().filter(|m| !["chaos", "xtask"].contains(*m));
    for member in shipped_members {
        for (path, text) in files(&format!("{member}/src"), &["rs"]) {
            let checked = shipped(&text).matches("sqlx::query").count();
            let below = ["domain", "outbox", "migrations"].contains(member);
            assert!(below || checked == 0, "{} holds SQL", path.display());
            statements += ["query!(", "query_as!(", "query_scalar!("]
                .iter()
                .map(|call| shipped(&text).matches(call).count())
                .sum::<usize>();
        }
    }
    let described = files(".sqlx", &["json"]).len();
    assert_eq!(
        statements, described,
        "each checked statement has one file in .sqlx: two places share a statement, \
         or `cargo xtask db prepare` has to run"
    );
}

#[test]
fn versions_and_lints_stand_in_one_place() {
    for member in MEMBERS {
        let manifest = read(format!("{member}/Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{member}/Cargo.toml does not inherit the workspace's lints"
        );
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            } else if section.contains("dependencies") && line.contains('=') {
                // A crate's tests may switch on a feature of the crate itself.
                let itself = line.contains("path = \".\"");
                assert!(
                    itself || line.contains("workspace = true"),
                    "{member}/Cargo.toml names a version itself: {line}"
                );
            }
        }
    }
}

#[test]
fn the_image_is_built_by_the_pinned_toolchain() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'))
        .expect("rust-toolchain.toml names a channel");
    let minor: String = channel.rsplit_once('.').unwrap().0.to_owned();
    assert!(read("Cargo.toml").contains(&format!("rust-version = \"{minor}\"")));
    let image = format!("rust:{channel}-slim-trixie");
    assert!(read("docker/Dockerfile").contains(&format!("ARG RUST_VERSION={channel}\n")));
    for file in ["docker/Dockerfile", ".env.example"] {
        let text = read(file);
        let named: BTreeSet<_> = text
            .split(|c: char| c.is_whitespace() || "=\"'}-".contains(c))
            .filter(|word| word.starts_with("rust:"))
            .collect();
        for word in &named {
            assert!(image.starts_with(word), "{file} names {word}, not {image}");
        }
    }
}

#[test]
fn the_harness_is_in_no_image() {
    for member in MEMBERS.iter().filter(|m| **m != "chaos") {
        assert_independent(member, &["chaos"]);
    }
    assert!(!read("docker/Dockerfile").contains("chaos"));
}

#[test]
fn every_decision_is_listed() {
    let index = read("docs/decisions/README.md");
    let mut by_number = BTreeMap::new();
    for (path, text) in files("docs/decisions", &["md"]) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "README.md" {
            continue;
        }
        assert!(index.contains(&name), "{name} is not in the index");
        assert!(text.contains("## Decision"), "{name} has no decision");
        let number = name.split('-').next().unwrap().to_owned();
        let twin = by_number.insert(number, name.clone());
        assert!(twin.is_none(), "{name} has the number of {twin:?}");
    }
}

/// Guards the tests above against silently reading nothing.
#[test]
fn the_members_are_those_of_the_workspace() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut names: Vec<_> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, MEMBERS);
}
