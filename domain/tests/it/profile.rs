//! What an owner writes into their account.

use domain::accounts::{Name, ProfileChange, ProfileError, change_profile};
use migrations::testing::database;
use uuid::Uuid;

use crate::people::verified;

fn name(text: &str) -> ProfileChange {
    ProfileChange {
        name: Some(Name::parse(text).unwrap()),
    }
}

#[tokio::test]
async fn a_change_is_made_to_the_version_it_was_meant_for() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, "ada@example.com").await;
    let changed = change_profile(pool, account, &name("Ada"), Some(&[1]))
        .await
        .unwrap();
    assert_eq!((&*changed.name, changed.version), ("Ada", 2));
    let late = change_profile(pool, account, &name("Eve"), Some(&[1])).await;
    assert!(matches!(late, Err(ProfileError::Outdated)), "{late:?}");
    // Whatever its version; and what changes nothing is no new version.
    let changed = change_profile(pool, account, &name("Zoë"), None)
        .await
        .unwrap();
    assert_eq!((&*changed.name, changed.version), ("Zoë", 3));
    for nothing in [name("Zoë"), ProfileChange::default()] {
        let same = change_profile(pool, account, &nothing, Some(&[2, 3]))
            .await
            .unwrap();
        assert_eq!((&*same.name, same.version), ("Zoë", 3));
    }
    let gone = change_profile(pool, Uuid::now_v7(), &name("Ada"), None).await;
    assert!(matches!(gone, Err(ProfileError::Gone)), "{gone:?}");
}

#[tokio::test]
async fn of_two_changes_of_one_version_at_once_one_is_late() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, "ada@example.com").await;
    let (one, other) = (name("one"), name("other"));
    let (one, other) = tokio::join!(
        change_profile(pool, account, &one, Some(&[1])),
        change_profile(pool, account, &other, Some(&[1])),
    );
    assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
}
