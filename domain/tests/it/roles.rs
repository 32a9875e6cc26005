//! Who is an admin, and what an admin sees.

use std::time::Duration;

use domain::accounts::{
    DeletionError, Role, RoleError, admins, delete, find_by_email, grant_admin, list, revoke_admin,
    role,
};
use migrations::testing::database;
use sqlx::PgPool;
use uuid::Uuid;

use crate::people::{PASSWORD, count, email, password, signed_up, verified};

const ADA: &str = "ada@example.com";
const EVE: &str = "eve@example.com";

async fn admin_ids(pool: &PgPool) -> Vec<Uuid> {
    let admins = admins(pool).await.unwrap();
    assert!(admins.iter().all(|admin| admin.role == Role::Admin));
    admins.into_iter().map(|admin| admin.id).collect()
}

#[tokio::test]
async fn the_role_is_given_and_taken() {
    let database = database().await;
    let pool = &database.pool;
    let ada = verified(pool, ADA).await;
    assert_eq!(role(pool, ada).await.unwrap(), Some(Role::Member));
    assert!(admin_ids(pool).await.is_empty());
    for _ in 0..2 {
        assert_eq!(
            grant_admin(pool, &email("ADA@example.com")).await.unwrap(),
            ada
        );
    }
    assert_eq!(admin_ids(pool).await, [ada]);
    assert_eq!(role(pool, ada).await.unwrap(), Some(Role::Admin));
    let version = find_by_email(pool, &email(ADA))
        .await
        .unwrap()
        .unwrap()
        .version;
    assert_eq!(version, 2, "granted twice, changed once");

    let eve = verified(pool, EVE).await;
    grant_admin(pool, &email(EVE)).await.unwrap();
    assert_eq!(revoke_admin(pool, &email(ADA), false).await.unwrap(), ada);
    assert_eq!(admin_ids(pool).await, [eve]);
    assert_eq!(role(pool, Uuid::now_v7()).await.unwrap(), None);
}

#[tokio::test]
async fn only_an_account_whose_address_is_proven_becomes_one() {
    let database = database().await;
    let pool = &database.pool;
    signed_up(pool, ADA, PASSWORD).await;
    let unverified = grant_admin(pool, &email(ADA)).await;
    assert!(
        matches!(unverified, Err(RoleError::Unverified)),
        "{unverified:?}"
    );
    let unknown = grant_admin(pool, &email(EVE)).await;
    assert!(matches!(unknown, Err(RoleError::Unknown)), "{unknown:?}");
    let unknown = revoke_admin(pool, &email(EVE), true).await;
    assert!(matches!(unknown, Err(RoleError::Unknown)), "{unknown:?}");
    assert!(admin_ids(pool).await.is_empty());
}

#[tokio::test]
async fn the_last_one_stays_unless_it_is_meant() {
    let database = database().await;
    let pool = &database.pool;
    let ada = verified(pool, ADA).await;
    verified(pool, EVE).await;
    grant_admin(pool, &email(ADA)).await.unwrap();
    let last = revoke_admin(pool, &email(ADA), false).await;
    assert!(matches!(last, Err(RoleError::LastAdmin)), "{last:?}");
    // A member is none, whoever is the last.
    revoke_admin(pool, &email(EVE), false).await.unwrap();
    assert_eq!(admin_ids(pool).await, [ada]);
    revoke_admin(pool, &email(ADA), true).await.unwrap();
    assert!(admin_ids(pool).await.is_empty());
}

#[tokio::test]
async fn of_two_who_are_revoked_at_once_one_stays() {
    let database = database().await;
    let pool = &database.pool;
    for address in [ADA, EVE] {
        verified(pool, address).await;
        grant_admin(pool, &email(address)).await.unwrap();
    }
    // Both are held up at the rows of the admins, so that neither has ended when the other looks.
    let mut held = pool.begin().await.unwrap();
    sqlx::query("SELECT id FROM accounts FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let revokes = [ADA, EVE].map(|address| {
        let (pool, email) = (pool.clone(), email(address));
        tokio::spawn(async move { revoke_admin(&pool, &email, false).await })
    });
    both_wait(pool).await;
    held.rollback().await.unwrap();
    let mut revoked = 0;
    for revoke in revokes {
        match revoke.await.unwrap() {
            Ok(_) => revoked += 1,
            Err(error) => assert!(matches!(error, RoleError::LastAdmin), "{error:?}"),
        }
    }
    assert_eq!((revoked, admin_ids(pool).await.len()), (1, 1));
}

/// Waits until two connections wait for a lock.
async fn both_wait(pool: &PgPool) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let both = async {
        while count(pool, waiting).await < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let both = tokio::time::timeout(Duration::from_secs(30), both).await;
    both.expect("both wait for a lock");
}

#[tokio::test]
async fn of_two_admins_who_delete_their_accounts_at_once_one_stays() {
    let database = database().await;
    let pool = &database.pool;
    let admins = [verified(pool, ADA).await, verified(pool, EVE).await];
    for address in [ADA, EVE] {
        grant_admin(pool, &email(address)).await.unwrap();
    }
    let mut held = pool.begin().await.unwrap();
    sqlx::query("SELECT id FROM accounts FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let deletions = admins.map(|id| {
        let pool = pool.clone();
        tokio::spawn(async move { delete(&pool, id, password(PASSWORD)).await })
    });
    both_wait(pool).await;
    held.rollback().await.unwrap();
    let mut deleted = 0;
    for deletion in deletions {
        match deletion.await.unwrap() {
            Ok(()) => deleted += 1,
            Err(error) => assert!(matches!(error, DeletionError::LastAdmin), "{error:?}"),
        }
    }
    assert_eq!((deleted, admin_ids(pool).await.len()), (1, 1));
}

#[tokio::test]
async fn accounts_are_listed_newest_first_page_by_page() {
    let database = database().await;
    let pool = &database.pool;
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(
            signed_up(pool, &format!("a{n}@example.com"), PASSWORD)
                .await
                .0,
        );
    }
    made.reverse();
    let first = list(pool, None, 3).await.unwrap();
    let second = list(pool, Some(first[2].id), 3).await.unwrap();
    let seen: Vec<_> = first
        .iter()
        .chain(&second)
        .map(|account| account.id)
        .collect();
    assert_eq!(seen, made);
    let found = find_by_email(pool, &email("A3@Example.COM"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.id, made[1]);
    assert!(find_by_email(pool, &email(ADA)).await.unwrap().is_none());
}
