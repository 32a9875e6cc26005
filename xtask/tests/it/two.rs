//! Two checkouts at once: what one does, the other does not notice.

use std::fs;

use crate::checkout::{Checkout, eventually};

const UP: [&str; 3] = ["up", "--native", "--infra"];

/// Makes a table of this name where the checkout's data are.
fn mark(checkout: &Checkout, table: &str) {
    checkout.ok(&["psql", "-qc", &format!("CREATE TABLE {table} ()")]);
}

/// The tables of [`mark`].
fn marks(checkout: &Checkout) -> String {
    checkout.ok(&[
        "psql",
        "-Atc",
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    ])
}

fn servers(checkout: &Checkout) -> [Option<u32>; 2] {
    [checkout.pid("postgres"), checkout.pid("redis")]
}

#[test]
fn two_of_the_same_folder_name_have_servers_and_data_of_their_own() {
    let Some(outer) = Checkout::with_servers() else {
        return;
    };
    let [one, two] = ["a/shop", "b/shop"].map(|folder| Checkout::at(outer.root.join(folder)));
    one.ok(&UP);
    two.ok(&UP);
    mark(&one, "of_one");
    mark(&two, "of_two");
    assert_eq!(
        (marks(&one), marks(&two)),
        ("of_one\n".into(), "of_two\n".into())
    );
    for name in ["postgres", "redis"] {
        assert_ne!(one.service(name)["address"], two.service(name)["address"]);
    }

    let before = servers(&two);
    one.ok(&["down", "--volumes", "--yes"]);
    assert_eq!(servers(&two), before);
    assert_eq!(marks(&two), "of_two\n");
    one.ok(&UP);
    assert_eq!(marks(&one), "", "its data were removed, and only its own");
}

#[test]
fn a_copy_acts_on_nothing_of_the_original() {
    let Some(original) = Checkout::with_servers() else {
        return;
    };
    original.ok(&UP);
    mark(&original, "of_the_original");
    let before = servers(&original);

    // With its state and secrets, while it runs.
    let copy = original.copy();
    let secret =
        |checkout: &Checkout| fs::read_to_string(checkout.root.join("secrets/jwt_secret")).unwrap();
    assert_eq!(secret(&copy), secret(&original));
    assert!(copy.refused(&["ps"]).contains("nothing runs here"));
    assert!(copy.refused(&["psql"]).contains("nothing runs here"));
    copy.ok(&["down", "--volumes", "--yes"]);
    assert_eq!(servers(&original), before);
    assert_eq!(marks(&original), "of_the_original\n");
    drop(copy);

    let copy = original.copy();
    let up = copy.run(&UP);
    let said = crate::checkout::text(&up.stderr);
    assert!(up.status.success(), "{said}");
    let of = format!("a copy of {}, which is left alone", original.root.display());
    assert!(said.contains(&of), "{said}");
    assert_eq!(marks(&copy), "");
    mark(&copy, "of_the_copy");
    assert_eq!(servers(&original), before);
    copy.ok(&["down"]);
    eventually("the copy's processes are gone", || {
        copy.processes().is_empty()
    });
    assert_eq!(servers(&original), before);
    assert_eq!(marks(&original), "of_the_original\n");
    copy.ok(&UP);
    assert_eq!(marks(&copy), "of_the_copy\n");
}

#[test]
fn a_checkout_that_was_moved_keeps_its_data() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    checkout.ok(&UP);
    checkout.ok(&["redis-cli", "SET", "kept", "yes"]);
    checkout.ok(&["down"]);
    let moved = Checkout {
        root: checkout.root.with_extension("moved"),
    };
    fs::rename(&checkout.root, &moved.root).unwrap();
    moved.ok(&UP);
    assert_eq!(moved.ok(&["redis-cli", "GET", "kept"]), "yes\n");
    // For the end of the test, which takes down both.
    fs::create_dir(&checkout.root).unwrap();
}
