//! Demo data.

use domain::accounts::{Email, Password, Role};
use domain::seed::{PASSWORD, seed};
use domain::sessions::log_in;
use domain::webhooks::{DeliveryState, Keys, list_deliveries, list_endpoints};
use migrations::testing::database;

#[tokio::test]
async fn demo_data_is_made_once_and_can_be_used() {
    let database = database().await;
    let pool = &database.pool;
    let keys = Keys::new(&["q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T".into()]);
    for again in [false, true] {
        let accounts = seed(pool, &keys).await.unwrap();
        assert!(accounts.iter().all(|account| account.found == again));
        assert_eq!(
            accounts.map(|account| account.role),
            [Role::Admin, Role::Member]
        );
    }
    let email = Email::parse("member@example.com").unwrap();
    let password = Password::parse(PASSWORD).unwrap();
    let member = log_in(pool, &email, password, "").await.unwrap().account_id;
    let endpoints = list_endpoints(pool, member, None, 9).await.unwrap();
    assert_eq!(endpoints.len(), 2);
    assert_eq!(endpoints[0].disabled_reason.as_deref(), Some("owner"));
    for state in DeliveryState::ALL {
        let listed = list_deliveries(pool, endpoints[1].id, Some(state), None, None, 9).await;
        assert_eq!(listed.unwrap().len(), 1, "{state:?}");
    }
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM job_outbox")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(jobs, 0, "nothing is sent");
}
