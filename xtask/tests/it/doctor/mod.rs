//! Each check of `doctor`, with what it looks for made to be so.
//!
//! Two cannot be made so in a test, and have tests of their words: little memory, and an engine whose
//! clock is off. For the latter, as for old versions and foreign images, a `docker` that says so
//! stands in PATH.

mod docker;
mod files;
mod words;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::checkout::{Checkout, eventually, kill, text};

/// A checkout and the `docker` that it sees.
struct Patient {
    checkout: Checkout,
    path: PathBuf,
}

impl Patient {
    /// No `docker` in PATH, and everything else.
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH is the system's, not a setting"
    )]
    fn without_docker() -> Self {
        let checkout = Checkout::new();
        let path = checkout.root.with_extension("bin");
        fs::create_dir_all(&path).unwrap();
        for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name() != "docker" {
                    // The first of a name wins, as in PATH itself.
                    symlink(entry.path(), path.join(entry.file_name())).ok();
                }
            }
        }
        Self { checkout, path }
    }

    /// One that answers as the `answers` say: lines of `words) what it does;;` for sh(1).
    fn with_docker(answers: &str) -> Self {
        let patient = Self::without_docker();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n{answers}\n\
             'version '*) echo 26.1.5;;\n\
             'compose version'*) echo 2.26.1;;\n\
             'compose '*'config --images') echo postgres:17;;\n\
             'image inspect'*) echo amd64 postgres:17;;\n\
             'info '*) printf '26.1.5\\nx86_64\\n/nowhere\\n8589934592\\n%s\\n' \"$(date -u +%FT%TZ)\";;\n\
             *) exit 1;;\nesac\n"
        );
        let program = patient.path.join("docker");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        // Or the images that ours is built from would be needed too.
        fs::write(patient.checkout.root.join(".env"), "SLIPWAY_IMAGE=shop:1\n").unwrap();
        patient
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.checkout.command(words);
        command.env("PATH", &self.path).env_remove("DOCKER_HOST");
        command
    }

    fn check(&self, name: &str) -> Check {
        let mut command = self.command(&["doctor", "--json"]);
        worst(&command.output().unwrap().stdout, name)
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).unwrap();
    }
}

/// One check, as `doctor --json` has it.
#[derive(Debug)]
struct Check {
    status: String,
    finding: String,
    remedy: String,
    fixable: bool,
}

impl Check {
    #[track_caller]
    fn says(&self, status: &str, finding: &str, remedy: &str) {
        assert!(
            self.status == status && self.finding.contains(finding) && self.remedy.contains(remedy),
            "{self:?} is not {status}, {finding:?}, {remedy:?}"
        );
    }
}

/// The worst check of this name.
fn worst(document: &[u8], name: &str) -> Check {
    let document: Value = serde_json::from_slice(document).unwrap();
    let checks = document["checks"].as_array().unwrap();
    let rank = |check: &&Value| match check["status"].as_str().unwrap() {
        "fail" => 2,
        "warn" => 1,
        _ => 0,
    };
    let check = checks
        .iter()
        .filter(|check| check["name"] == name)
        .max_by_key(rank)
        .unwrap_or_else(|| panic!("no check `{name}` in {document:#}"));
    let field = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
    Check {
        status: field("status"),
        finding: field("finding"),
        remedy: field("remedy"),
        fixable: check["fixable"] == true,
    }
}

fn check(checkout: &Checkout, name: &str) -> Check {
    worst(&checkout.run(&["doctor", "--json"]).stdout, name)
}

/// What `doctor --fix` says that it did.
fn fix(checkout: &Checkout) -> String {
    text(&checkout.run(&["doctor", "--fix"]).stderr)
}

#[test]
fn a_new_checkout_is_well_and_is_left_as_it_is() {
    let patient = Patient::with_docker("");
    let root = &patient.checkout.root;
    fs::remove_file(root.join(".env")).unwrap();
    fs::write(root.join("docker/Dockerfile"), "").unwrap();
    let output = patient.command(&["doctor"]).output().unwrap();
    let page = text(&output.stdout);
    assert!(output.status.success(), "{page}");
    for part in ["Machine\n", "Docker\n", "Native\n", "Sources\n", " checks"] {
        assert!(page.contains(part), "{part:?} is missing: {page}");
    }
    for made in [".slipway", ".env", "secrets"] {
        assert!(!root.join(made).exists(), "it made {made}");
    }
}

/// In a mount namespace of its own, where the checkout's data lie on a disk of 8 MiB.
#[test]
fn a_full_disk_is_told_and_nothing_is_started_on_it() {
    let checkout = Checkout::new();
    let folder = checkout.root.join(".slipway");
    fs::create_dir(&folder).unwrap();
    let on_small_disk = |words: &[&str]| {
        let given = checkout.command(words);
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o size=8m none \"$0\" && exec \"$@\"")
            .arg(&folder)
            .arg(given.get_program())
            .args(given.get_args())
            .current_dir(&checkout.root);
        for (name, value) in given.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.output()
    };
    let output = on_small_disk(&["doctor", "--json"]).ok();
    let Some(output) = output.filter(|output| !output.stdout.is_empty()) else {
        eprintln!("not tested: this user may not mount a disk of its own");
        return;
    };
    worst(&output.stdout, "disk").says("fail", "MiB free on ", "cargo clean");
    let up = on_small_disk(&["up", "--native", "--infra"]).unwrap();
    assert_eq!(up.status.code(), Some(1));
    let said = text(&up.stderr);
    assert!(
        said.contains("error: disk: ") && said.contains("next: "),
        "{said}"
    );
    assert!(checkout.processes().is_empty());
}

#[test]
fn a_taken_port_is_told_with_its_holder() {
    let checkout = Checkout::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let env = checkout.root.join(".env");
    fs::write(&env, format!("API_PORT={port}\n")).unwrap();
    let taken = check(&checkout, "port");
    taken.says("warn", &format!("{port} is taken by "), "API_PORT");
    let holder = format!("(pid {}, in /", std::process::id());
    assert!(taken.finding.contains(&holder), "{taken:?}");
    drop(listener);
    check(&checkout, "port").says("ok", "is free for api", "");

    fs::write(&env, "API_PORT=eight\n").unwrap();
    check(&checkout, "port").says("fail", "API_PORT is `eight`", "1 to 65535");
}

#[test]
fn a_file_from_the_future_tells_of_a_clock() {
    let checkout = Checkout::new();
    let path = checkout.root.join(".env.example");
    let file = fs::File::options().append(true).open(path).unwrap();
    let later = SystemTime::now() + Duration::from_secs(3600);
    file.set_modified(later).unwrap();
    check(&checkout, "clock").says(
        "warn",
        ".env.example was written 59 min from now",
        "touch .env.example",
    );
}

#[test]
fn another_toolchain_is_told_with_the_one_that_is_wanted() {
    let checkout = Checkout::new();
    let file = checkout.root.join("rust-toolchain.toml");
    fs::write(file, "[toolchain]\nchannel = \"1.2.3\"\n").unwrap();
    // As under cargo: left to itself, rustup would install what the file asks for.
    let here = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .unwrap();
    let mut command = checkout.command(&["doctor", "--json"]);
    command.env("RUSTUP_TOOLCHAIN", text(&here.stdout).trim());
    worst(&command.output().unwrap().stdout, "toolchain").says(
        "warn",
        "built with 1.2.3",
        "rustup toolchain install 1.2.3",
    );
}

#[test]
fn what_a_killed_supervisor_left_is_told_and_stopped() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&["up", "--native", "--infra"]);
    kill(checkout.supervisor());
    let left = check(&checkout, "supervisor");
    left.says(
        "warn",
        "what it started runs on: postgres (pid ",
        "cargo xtask down",
    );
    assert!(fix(&checkout).contains("stopped what the killed supervisor had left"));
    eventually("all processes are gone", || checkout.processes().is_empty());
}

#[test]
fn data_of_a_postgres_that_is_not_here_are_told_before_a_start() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&["up", "--native", "--infra"]);
    checkout.ok(&["down"]);
    let version = checkout.root.join(".slipway/data/postgres/PG_VERSION");
    let Ok(before) = fs::read_to_string(&version) else {
        eprintln!("not tested: the data lie elsewhere, where their user can get in");
        return;
    };
    fs::write(&version, "99\n").unwrap();
    let made_by = "the native data was made by Postgres 99";
    check(&checkout, "data").says("fail", made_by, "install Postgres 99");
    let said = checkout.refused(&["up", "--native", "--infra"]);
    assert!(
        said.contains("error: data: ") && said.contains(made_by),
        "{said}"
    );
    fs::write(&version, before).unwrap();
    checkout.ok(&["up", "--native", "--infra"]);
}
