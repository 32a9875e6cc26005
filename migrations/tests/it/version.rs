//! What a service sees of the schema's version.

use std::time::Duration;

use migrations::testing::{database, empty_database};
use migrations::{MIGRATOR, applied_version, expected_version, wait_until_current};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_migrated_database_is_at_the_expected_version() {
    let database = database().await;
    assert_eq!(
        applied_version(&database.pool).await.unwrap(),
        Some(expected_version())
    );
    assert!(wait_until_current(&database.pool, &CancellationToken::new()).await);
}

#[tokio::test]
async fn an_empty_database_has_no_version() {
    let database = empty_database().await;
    assert_eq!(applied_version(&database.pool).await.unwrap(), None);
}

#[tokio::test]
async fn a_service_waits_for_the_migrations() {
    let database = empty_database().await;
    let pool = database.pool.clone();
    let waiting =
        tokio::spawn(async move { wait_until_current(&pool, &CancellationToken::new()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    MIGRATOR.run(&database.pool).await.unwrap();
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn waiting_ends_when_it_is_cancelled() {
    let database = empty_database().await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(!wait_until_current(&database.pool, &cancel).await);
}

#[tokio::test]
async fn a_newer_schema_is_current_too() {
    let database = database().await;
    sqlx::query("UPDATE _sqlx_migrations SET version = 99991231235959 WHERE version = $1")
        .bind(expected_version())
        .execute(&database.pool)
        .await
        .unwrap();
    assert!(wait_until_current(&database.pool, &CancellationToken::new()).await);
}
