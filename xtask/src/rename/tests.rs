use super::*;

#[test]
fn a_file_that_cannot_be_written_is_found_before_any_is_changed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    all_writable(root, ["Cargo.toml"].into_iter()).unwrap();
    // Not even root writes into a folder as if it was a file.
    let error = all_writable(root, ["Cargo.toml", "src"].into_iter()).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("src cannot be written: ") && said.contains("nothing was renamed"),
        "{said}"
    );
}

#[test]
fn whole_words_are_renamed_in_every_case() {
    for (before, after) in [
        ("boat", "ship"),
        ("Boat and BOAT", "Ship and SHIP"),
        (
            "boat_owner, .boat/mail, BOAT_IMAGE",
            "ship_owner, .ship/mail, SHIP_IMAGE",
        ),
        (
            "urn:problem-type:boat:x boat2 2boat",
            "urn:problem-type:ship:x ship2 2ship",
        ),
        (
            "BoatClient, toBoat, boatName",
            "ShipClient, toShip, shipName",
        ),
        ("\"boat\"\n", "\"ship\"\n"),
    ] {
        assert_eq!(renamed(before, "boat", "ship").0, after);
    }
    for other in [
        "boats",
        "lifeboat",
        "Boats",
        "STEAMBOAT",
        "boät",
        "éboat",
        "bOat",
    ] {
        assert_eq!(renamed(other, "boat", "ship"), (other.to_owned(), 0));
    }
    assert_eq!(renamed("boat boat-boat", "boat", "ship").1, 3);
}
