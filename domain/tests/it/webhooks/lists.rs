//! Pages whose rows are inserted and deleted between one and the next.

use std::collections::BTreeMap;

use domain::webhooks::{
    DeliveryState, EventType, delete_endpoint, list_deliveries, list_endpoints, list_events,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use super::{Fixture, account};

/// What happens between two pages.
#[derive(Debug, Clone)]
enum Between {
    Insert,
    /// Of the rows that there are, the one at this share of the way.
    Delete(f64),
}

fn between() -> impl Strategy<Value = Vec<Vec<Between>>> {
    let one = prop_oneof![Just(Between::Insert), (0.0..1.0).prop_map(Between::Delete)];
    prop::collection::vec(prop::collection::vec(one, 0..4), 0..8)
}

/// Pages through the account's endpoints while they come and go. Whatever was there all the time
/// is seen once, what is seen is seen once, and the order is from the newest to the oldest.
async fn page_through(fixture: &Fixture, rows: usize, limit: usize, between: Vec<Vec<Between>>) {
    let (pool, owner) = (fixture.pool(), fixture.account);
    fixture.run("DELETE FROM webhook_endpoints").await;
    // By id: whether it has been there all the time.
    let mut there = BTreeMap::new();
    for _ in 0..rows {
        there.insert(fixture.endpoint().await.id, true);
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    let mut between = between.into_iter();
    loop {
        let asked = i64::try_from(limit).unwrap() + 1;
        let mut page = list_endpoints(pool, owner, cursor, asked).await.unwrap();
        let more = page.len() > limit;
        page.truncate(limit);
        seen.extend(page.iter().map(|endpoint| endpoint.id));
        if !more {
            break;
        }
        cursor = seen.last().copied();
        for action in between.next().unwrap_or_default() {
            match action {
                Between::Insert => {
                    there.insert(fixture.endpoint().await.id, false);
                }
                Between::Delete(share) => {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        clippy::cast_precision_loss,
                        reason = "a place in a short list"
                    )]
                    let at = (there.len() as f64 * share) as usize;
                    if let Some(id) = there.keys().nth(at).copied() {
                        delete_endpoint(pool, owner, id, None).await.unwrap();
                        there.remove(&id);
                    }
                }
            }
        }
    }
    assert!(seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
    let all_the_time = there.into_iter().filter_map(|(id, all)| all.then_some(id));
    for id in all_the_time {
        assert!(seen.contains(&id), "{id} was never shown");
    }
}

#[test]
fn what_is_there_all_the_time_is_shown_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let fixture = runtime.block_on(Fixture::new());
    let mut runner = TestRunner::new(Config {
        cases: 40,
        ..Config::default()
    });
    let cases = (0..12_usize, 1..5_usize, between());
    let done = runner.run(&cases, |(rows, limit, between)| {
        runtime.block_on(page_through(&fixture, rows, limit, between));
        Ok(())
    });
    done.unwrap();
    runtime.block_on(async { drop(fixture) });
}

#[tokio::test]
async fn lists_show_what_fits_and_is_the_accounts_own() {
    let fixture = Fixture::new().await;
    let (pool, owner) = (fixture.pool(), fixture.account);
    let (one, two) = (fixture.endpoint().await.id, fixture.endpoint().await.id);
    let mut ids = Vec::new();
    for (key, kind) in [
        ("a", "invoice.paid"),
        ("b", "user.left"),
        ("c", "invoice.paid"),
    ] {
        ids.push(fixture.accept(key, kind).await.unwrap().id);
    }
    ids.reverse();
    let events = async |kind: Option<&str>, before: Option<Uuid>, limit| {
        let kind = kind.map(|kind| EventType::parse(kind).unwrap());
        let events = list_events(pool, owner, kind.as_ref(), before, limit).await;
        let events: Vec<Uuid> = events.unwrap().iter().map(|event| event.id).collect();
        events
    };
    assert_eq!(events(None, None, 9).await, ids);
    assert_eq!(events(None, None, 2).await, ids[..2]);
    assert_eq!(events(None, Some(ids[0]), 9).await, ids[1..]);
    assert_eq!(
        events(Some("invoice.paid"), None, 9).await,
        [ids[0], ids[2]]
    );
    assert_eq!(
        events(Some("invoice.paid"), Some(ids[0]), 9).await,
        [ids[2]]
    );
    assert!(events(Some("invoice"), None, 9).await.is_empty());
    let stranger = account(pool, "eve@example.com").await;
    assert!(
        list_events(pool, stranger, None, None, 9)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        list_endpoints(pool, stranger, None, 9)
            .await
            .unwrap()
            .is_empty()
    );

    sqlx::query("UPDATE webhook_deliveries SET state = 'failed' WHERE event_id = $1")
        .bind(ids[0])
        .execute(pool)
        .await
        .unwrap();
    let deliveries = async |state, event| {
        let listed = list_deliveries(pool, one, state, event, None, 9)
            .await
            .unwrap();
        let events: Vec<Uuid> = listed.iter().map(|delivery| delivery.event_id).collect();
        events
    };
    let (failed, pending) = (Some(DeliveryState::Failed), Some(DeliveryState::Pending));
    assert_eq!(deliveries(None, None).await, ids);
    assert_eq!(deliveries(failed, None).await, ids[..1]);
    assert_eq!(deliveries(pending, None).await, ids[1..]);
    assert_eq!(deliveries(None, Some(ids[1])).await, [ids[1]]);
    assert!(deliveries(pending, Some(ids[0])).await.is_empty());
    assert_eq!(deliveries(failed, Some(ids[0])).await, ids[..1]);
    let theirs = list_deliveries(pool, two, None, None, None, 2)
        .await
        .unwrap();
    assert_eq!(theirs.len(), 2, "as many as are asked for");
    let rest = list_deliveries(pool, two, None, None, Some(theirs[1].id), 9).await;
    assert_eq!(rest.unwrap().len(), 1);
}
