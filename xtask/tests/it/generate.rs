//! `generate`, as far as it needs no compiler: what it writes where, and what it refuses.
//!
//! That the outcome compiles and passes its own tests is proven in `xtask/tests/generated.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::checkout::Checkout;

/// The files in which something is registered.
const LISTS: [&str; 7] = [
    "api/src/openapi/shared.json",
    "api/src/routes/mod.rs",
    "api/tests/it/main.rs",
    "domain/src/jobs.rs",
    "domain/src/lib.rs",
    "worker/src/jobs/mod.rs",
    "worker/tests/it/main.rs",
];

const RESOURCE: [&str; 5] = [
    "generate",
    "resource",
    "project",
    "name:text",
    "due_at:timestamp",
];

/// A checkout with the lists in it.
fn checkout() -> Checkout {
    let checkout = Checkout::new();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for file in LISTS {
        let copy = checkout.root.join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(project.join(file), copy).unwrap();
    }
    checkout
}

/// Every file but the command's own state, with its text.
fn files(checkout: &Checkout) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![checkout.root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&checkout.root).unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_resource_is_written_and_registered_and_never_twice() {
    let checkout = checkout();
    let before = files(&checkout);
    let dry = checkout.ok(&[&RESOURCE[..], &["--dry-run"]].concat());
    assert_eq!(files(&checkout), before, "a dry run writes nothing");

    let said = checkout.ok(&[&RESOURCE[..], &["--files-only"]].concat());
    let names = |said: &str| -> Vec<String> {
        let files = said
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        files
            .filter(|name| !name.contains("migrations/"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(names(&dry), names(&said), "it lists what is written");
    let after = files(&checkout);
    for (file, line) in [
        ("domain/src/lib.rs", "pub mod projects;"),
        ("api/src/routes/mod.rs", "mod projects;"),
        ("api/src/routes/mod.rs", ".merge(projects::router())"),
        ("api/tests/it/main.rs", "mod projects;"),
        ("api/src/openapi/shared.json", "{ \"name\": \"projects\","),
    ] {
        let lines = after[Path::new(file)].lines();
        let found = lines.filter(|found| found.trim().starts_with(line)).count();
        assert_eq!(found, 1, "{line} in {file}");
    }
    let new = after
        .keys()
        .filter(|file| !before.contains_key(*file))
        .count();
    assert_eq!(new, 10, "{said}");
    let shown = &after[Path::new("api/src/routes/projects/show.rs")];
    assert!(
        shown.contains("\"/v1/projects/{id}\"") && !shown.contains("idget"),
        "{shown}"
    );

    for words in [
        &RESOURCE[..],
        &[
            "generate", "resource", "plan", "a:text", "--plural", "projects",
        ],
    ] {
        let said = checkout.refused(words);
        assert!(said.contains("already") && said.contains("next:"), "{said}");
    }
    assert_eq!(files(&checkout), after, "what is refused changes nothing");
}

#[test]
fn a_job_is_written_and_registered_and_never_twice() {
    let checkout = checkout();
    let job = ["generate", "job", "ship_order", "order_id:uuid"];
    checkout.ok(&job);
    let after = files(&checkout);
    let jobs = &after[Path::new("domain/src/jobs.rs")];
    assert!(jobs.contains("pub struct ShipOrder {") && jobs.contains("pub order_id: Uuid,"));
    let registry = &after[Path::new("worker/src/jobs/mod.rs")];
    assert!(registry.contains("\nmod ship_order;\n"), "{registry}");
    assert!(
        registry.contains("        .register(ship_order::run)\n"),
        "{registry}"
    );
    assert!(after.contains_key(Path::new("worker/tests/it/ship_order.rs")));

    for words in [&job[..], &["generate", "job", "purge"]] {
        let said = checkout.refused(words);
        assert!(said.contains("already"), "{said}");
    }
    assert_eq!(files(&checkout), after);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let checkout = checkout();
    let table = "migrations/20260101000000_shop.up.sql";
    fs::write(
        checkout.root.join(table),
        "CREATE TABLE orders (id uuid);\n",
    )
    .unwrap();
    let before = files(&checkout);
    for (words, why) in [
        (
            &["resource", "order", "a:text"][..],
            "there is a table `orders` already",
        ),
        (&["resource", "Project", "name:text"], "lower case"),
        (&["resource", "project", "name"], "has no type"),
        (
            &["resource", "project", "name:varchar"],
            "no type of a field",
        ),
        (&["resource", "project", "select:text"], "word of SQL"),
        (&["resource", "project", "owner:account"], "is not needed"),
        (&["resource", "webhook", "name:text"], "already"),
        (
            &["resource", "problem", "name:text"],
            "there is a type `Problem` already",
        ),
        (&["job", "self"], "word of Rust"),
        (&["job", "send_email"], "already"),
        (&["migration", "Add orders"], "no name for a migration"),
    ] {
        if why.contains("Problem") {
            // The type that it would clash with is not in a checkout this small.
            fs::write(
                checkout.root.join("api/src/problem.rs"),
                "pub struct Problem;\n",
            )
            .unwrap();
        }
        let said = checkout.refused(&[&["generate"], words].concat());
        assert!(said.contains(why), "{words:?}: {said}");
    }
    let mut after = files(&checkout);
    after.remove(Path::new("api/src/problem.rs"));
    assert_eq!(after, before);

    // A list that is not where it is looked for.
    fs::write(checkout.root.join("api/tests/it/main.rs"), "//! Tests.\n").unwrap();
    let before = files(&checkout);
    let said = checkout.refused(&RESOURCE);
    assert!(
        said.contains("api/tests/it/main.rs: it has no list of modules"),
        "{said}"
    );
    assert_eq!(files(&checkout), before);
    let nothing = checkout.run(&["generate", "resource", "project"]);
    assert_eq!(nothing.status.code(), Some(2), "a resource has a field");
}
