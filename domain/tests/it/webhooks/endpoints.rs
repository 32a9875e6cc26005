//! Endpoints: made, changed, and never shown with their secret again.

use domain::webhooks::{
    Change, ChangeError, CreateError, EventFilter, MOST_ENDPOINTS, NewEndpoint, change_endpoint,
    create_endpoint, delete_endpoint, find_endpoint, rotate_secret,
};
use time::Duration;
use uuid::Uuid;

use super::{Fixture, account, keys, target};

#[tokio::test]
async fn a_secret_is_shown_and_not_stored() {
    let fixture = Fixture::new().await;
    let new = NewEndpoint {
        url: &target("https://example.com/hooks"),
        description: "Bills",
        event_types: &[EventFilter::parse("invoice.*").unwrap()],
    };
    let (made, secret) = create_endpoint(fixture.pool(), &keys(), fixture.account, new)
        .await
        .unwrap();
    assert_eq!((&*made.url, made.version), ("https://example.com/hooks", 1));
    assert_eq!(
        (&*made.description, &*made.event_types),
        ("Bills", &["invoice.*".to_owned()][..])
    );
    let found = find_endpoint(fixture.pool(), fixture.account, made.id).await;
    assert_eq!(found.unwrap(), Some(made));
    let row: (String, String, Vec<u8>) = sqlx::query_as(
        "SELECT webhook_endpoints::text, secret_key_id, secret_salt FROM webhook_endpoints",
    )
    .fetch_one(fixture.pool())
    .await
    .unwrap();
    let (text, key_id, salt) = row;
    assert!(!text.contains(&secret.expose()[6..]));
    let derived = keys().derive(&key_id, &salt).unwrap();
    assert_eq!(derived.expose(), secret.expose());
}

#[tokio::test]
async fn an_account_has_only_so_many_even_when_they_are_made_at_once() {
    let fixture = Fixture::new().await;
    for _ in 1..MOST_ENDPOINTS {
        fixture.endpoint().await;
    }
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (pool, account) = (fixture.pool().clone(), fixture.account);
            tokio::spawn(async move {
                let new = NewEndpoint {
                    url: &target("https://example.com/"),
                    description: "",
                    event_types: &[],
                };
                create_endpoint(&pool, &keys(), account, new).await
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert!(matches!(error, CreateError::TooMany), "{error:?}"),
        }
    }
    assert_eq!(made, 1);
    let count = fixture
        .count("SELECT count(*) FROM webhook_endpoints")
        .await;
    assert_eq!(count, MOST_ENDPOINTS);
}

#[tokio::test]
async fn what_is_not_to_be_changed_stays() {
    let fixture = Fixture::new().await;
    let (pool, owner) = (fixture.pool(), fixture.account);
    let made = fixture.endpoint().await;
    let change = Change {
        description: Some("Bills"),
        ..Change::default()
    };
    let changed = change_endpoint(pool, owner, made.id, Some(&[1]), change)
        .await
        .unwrap();
    assert_eq!(
        (&*changed.url, &*changed.description),
        (&*made.url, "Bills")
    );
    assert_eq!(changed.version, 2);
    assert!(changed.updated_at >= made.updated_at);

    let refused = change_endpoint(pool, owner, made.id, Some(&[1, 7]), Change::default()).await;
    assert!(matches!(refused, Err(ChangeError::VersionMismatch)));
    let refused = delete_endpoint(pool, owner, made.id, Some(&[1])).await;
    assert!(matches!(refused, Err(ChangeError::VersionMismatch)));
    let stranger = account(pool, "eve@example.com").await;
    let refused = change_endpoint(pool, stranger, made.id, None, Change::default()).await;
    assert!(matches!(refused, Err(ChangeError::NotFound)));
    let refused = delete_endpoint(pool, stranger, made.id, None).await;
    assert!(matches!(refused, Err(ChangeError::NotFound)));
    let refused = rotate_secret(pool, &keys(), stranger, made.id, None).await;
    assert!(matches!(refused, Err(ChangeError::NotFound)));
    let found = find_endpoint(pool, owner, made.id).await.unwrap();
    assert_eq!(found, Some(changed), "nothing refused has changed anything");

    delete_endpoint(pool, owner, made.id, Some(&[2]))
        .await
        .unwrap();
    assert_eq!(find_endpoint(pool, owner, made.id).await.unwrap(), None);
}

#[tokio::test]
async fn an_endpoint_that_is_enabled_again_begins_anew() {
    let fixture = Fixture::new().await;
    let id = fixture.endpoint().await.id;
    let change = async |enabled| {
        let change = Change {
            enabled: Some(enabled),
            ..Change::default()
        };
        change_endpoint(fixture.pool(), fixture.account, id, None, change)
            .await
            .unwrap()
    };
    let off = change(false).await;
    assert_eq!(off.disabled_reason.as_deref(), Some("owner"));
    let since = off.disabled_at.unwrap();
    assert_eq!(change(false).await.disabled_at, Some(since));

    fixture
        .run("UPDATE webhook_endpoints SET disabled_reason = 'failing', failing_since = now()")
        .await;
    let still = change(false).await;
    assert_eq!(still.disabled_reason.as_deref(), Some("failing"));
    assert!(still.failing_since.is_some());
    let on = change(true).await;
    assert_eq!(
        (on.disabled_at, on.disabled_reason, on.failing_since),
        (None, None, None)
    );
}

#[tokio::test]
async fn the_secret_before_a_rotation_is_kept_for_a_day() {
    let fixture = Fixture::new().await;
    let id = fixture.endpoint().await.id;
    let row = async || -> (Vec<u8>, Option<Vec<u8>>) {
        sqlx::query_as("SELECT secret_salt, old_secret_salt FROM webhook_endpoints")
            .fetch_one(fixture.pool())
            .await
            .unwrap()
    };
    let (first, none) = row().await;
    assert_eq!(none, None);
    let (rotated, secret) = rotate_secret(fixture.pool(), &keys(), fixture.account, id, None)
        .await
        .unwrap();
    let (second, old) = row().await;
    assert_eq!(old, Some(first));
    assert_ne!(old, Some(second.clone()));
    let key_id: String = sqlx::query_scalar("SELECT secret_key_id FROM webhook_endpoints")
        .fetch_one(fixture.pool())
        .await
        .unwrap();
    let derived = keys().derive(&key_id, &second).unwrap();
    assert_eq!(derived.expose(), secret.expose());
    let overlap = rotated.old_secret_until.unwrap() - rotated.updated_at;
    assert_eq!((overlap, rotated.version), (Duration::days(1), 2));
}

#[tokio::test]
async fn an_account_that_is_gone_makes_none() {
    let fixture = Fixture::new().await;
    let new = NewEndpoint {
        url: &target("https://example.com/"),
        description: "",
        event_types: &[],
    };
    let refused = create_endpoint(fixture.pool(), &keys(), Uuid::now_v7(), new).await;
    assert!(matches!(refused, Err(CreateError::NoAccount)));
}
