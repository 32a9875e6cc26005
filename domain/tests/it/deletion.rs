//! The end of an account.

use domain::accounts::{
    DeletionError, ResetError, VerifyError, complete_password_reset, delete, find,
    issue_email_change, issue_password_reset, sign_up, verify,
};
use domain::jobs::Mail;
use migrations::testing::database;

use crate::people::{
    PASSWORD, ask_for_address, count, email, forget_mails, mails, opens, password, reset_token,
    session, signed_up, verified,
};

const ADA: &str = "ada@example.com";

#[tokio::test]
async fn it_takes_all_that_belongs_to_the_account_and_nothing_else() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, ADA).await;
    let other = verified(pool, "eve@example.com").await;
    for address in [ADA, "eve@example.com"] {
        session(pool, address, PASSWORD).await;
        reset_token(pool, address).await;
    }
    ask_for_address(pool, account, "a@example.org").await;
    let Some((_, Mail::ConfirmNewAddress { email_change_id })) =
        mails(pool).await.into_iter().next()
    else {
        panic!("no mail to the new address");
    };
    forget_mails(pool).await;

    let wrong = delete(pool, account, password("not hers")).await;
    assert!(
        matches!(wrong, Err(DeletionError::WrongPassword)),
        "{wrong:?}"
    );
    assert!(find(pool, account).await.unwrap().is_some() && mails(pool).await.is_empty());

    delete(pool, account, password(PASSWORD)).await.unwrap();
    assert!(find(pool, account).await.unwrap().is_none());
    assert_eq!(mails(pool).await, [(ADA.to_owned(), Mail::AccountDeleted)]);
    assert!(find(pool, other).await.unwrap().is_some());
    for table in [
        "SELECT count(*) FROM sessions",
        "SELECT count(*) FROM refresh_tokens",
        "SELECT count(*) FROM password_reset_tokens",
    ] {
        assert_eq!(count(pool, table).await, 1, "{table}: the other's");
    }
    assert_eq!(count(pool, "SELECT count(*) FROM email_changes").await, 0);
    // What jobs that are still on their way would ask.
    assert!(
        issue_email_change(pool, email_change_id)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        issue_password_reset(pool, &email(ADA))
            .await
            .unwrap()
            .is_none()
    );

    let gone = delete(pool, account, password(PASSWORD)).await;
    assert!(
        matches!(gone, Err(DeletionError::WrongPassword)),
        "{gone:?}"
    );
    // The address is free again.
    sign_up(pool, &email(ADA), password("another life"))
        .await
        .unwrap();
    assert!(!opens(pool, ADA, PASSWORD).await);
}

#[tokio::test]
async fn links_that_are_still_in_a_mailbox_open_nothing_after_it() {
    let database = database().await;
    let pool = &database.pool;
    let (account, link) = signed_up(pool, ADA, PASSWORD).await;
    verify(pool, &link).await.unwrap();
    let reset = reset_token(pool, ADA).await;
    delete(pool, account, password(PASSWORD)).await.unwrap();
    let late = verify(pool, &link).await;
    assert!(matches!(late, Err(VerifyError::Unknown)), "{late:?}");
    let late = complete_password_reset(pool, &reset, password("battery staple")).await;
    assert!(matches!(late, Err(ResetError::Unknown)), "{late:?}");
}

#[tokio::test]
async fn every_cascade_finds_its_rows_by_an_index() {
    let database = database().await;
    // For each foreign key with a cascade: an index that begins with its column.
    let missing: Vec<String> = sqlx::query_scalar(
        "SELECT conrelid::regclass || ' (' || attname || ')'
         FROM pg_constraint
         JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
         WHERE contype = 'f' AND confdeltype = 'c' AND NOT EXISTS (
           SELECT FROM pg_index
           WHERE indrelid = conrelid AND indkey[0] = conkey[1] AND indpred IS NULL
         )",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(missing.is_empty(), "{missing:?}");
    let cascades = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confdeltype = 'c'";
    assert!(count(&database.pool, cascades).await >= 9);
}
