//! Sign-up and verification.

use domain::Token;
use domain::accounts::{
    Email, Password, Role, VerifyError, find, issue_verification, sign_up, verify,
};
use domain::jobs::{Mail, SendEmail};
use domain::sessions::LogInError;
use migrations::testing::{TestDatabase, database};
use sqlx::PgPool;
use uuid::Uuid;

use crate::sessions::log_in;

pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) fn email() -> Email {
    Email::parse("Ada@Example.com").unwrap()
}

pub(crate) fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

/// The mails in the outbox, oldest first.
async fn mails(pool: &PgPool) -> Vec<SendEmail> {
    let waiting = outbox::testing::enqueued::<SendEmail>(pool).await;
    assert!(waiting.iter().all(|mail| mail.envelope.once));
    waiting.into_iter().map(|mail| mail.job).collect()
}

/// Account and sign-up of the newest mail, which asks for a verification.
async fn asked(pool: &PgPool) -> (Uuid, Uuid) {
    match mails(pool).await.pop().unwrap().template {
        Mail::VerifyAddress {
            account_id,
            sign_up_id,
        } => (account_id, sign_up_id),
        other => panic!("{other:?}"),
    }
}

/// Signs up, and gives the account and the token that the mail about it contains.
async fn signed_up(pool: &PgPool, text: &str) -> (Uuid, Token) {
    sign_up(pool, &email(), password(text)).await.unwrap();
    let (account, sign_up) = asked(pool).await;
    let issued = issue_verification(pool, sign_up).await.unwrap().unwrap();
    (account, issued.token)
}

async fn opens(pool: &PgPool, text: &str) -> bool {
    match log_in(pool, text).await {
        Ok(_) => true,
        Err(LogInError::InvalidCredentials) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// A verified account and its id.
pub(crate) async fn verified(pool: &PgPool) -> Uuid {
    let (account, token) = signed_up(pool, PASSWORD).await;
    assert_eq!(verify(pool, &token).await.unwrap(), account);
    account
}

pub(crate) async fn count(database: &TestDatabase, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn sign_up_stores_the_account_and_its_mail_together() {
    let database = database().await;
    sign_up(&database.pool, &email(), password(PASSWORD))
        .await
        .unwrap();
    let sent = mails(&database.pool).await;
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].to, "Ada@Example.com");
    let account = find(&database.pool, asked(&database.pool).await.0)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(account.email, "Ada@Example.com");
    assert_eq!((account.role, account.verified_at), (Role::Member, None));
    let hash: String = sqlx::query_scalar("SELECT password_hash FROM sign_ups")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert!(hash.starts_with("$argon2id$") && !hash.contains(PASSWORD));
}

#[tokio::test]
async fn a_known_address_gets_the_same_answer_and_one_mail_as_well() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let before = mails(pool).await.len();
    let other_case = Email::parse("ADA@example.COM").unwrap();
    sign_up(pool, &other_case, password("another password"))
        .await
        .unwrap();
    let mut sent = mails(pool).await;
    assert_eq!(sent.len(), before + 1);
    assert_eq!(sent.pop().unwrap().template, Mail::AlreadyRegistered);
    // Nothing about the account has changed.
    let session = log_in(pool, PASSWORD).await.unwrap();
    assert_eq!(session.account_id, account);
    assert_eq!(count(&database, "SELECT count(*) FROM accounts").await, 1);
}

const STRANGERS: &str = "of a stranger";

/// The owner has followed the link of their own mail, and the stranger has nothing of it.
async fn assert_the_owners(pool: &PgPool, strangers: &Token) {
    assert!(opens(pool, PASSWORD).await);
    assert!(!opens(pool, STRANGERS).await);
    let late = verify(pool, strangers).await;
    assert!(matches!(late, Err(VerifyError::Unknown)), "{late:?}");
    assert!(opens(pool, PASSWORD).await);
}

#[tokio::test]
async fn a_stranger_who_signs_up_first_has_no_part_in_the_account() {
    let database = database().await;
    let pool = &database.pool;
    let (account, strangers) = signed_up(pool, STRANGERS).await;
    let (same, owners) = signed_up(pool, PASSWORD).await;
    assert_eq!(account, same, "the account is the same, with a new mail");
    assert!(!opens(pool, STRANGERS).await && !opens(pool, PASSWORD).await);
    verify(pool, &owners).await.unwrap();
    assert_the_owners(pool, &strangers).await;
}

#[tokio::test]
async fn a_stranger_who_signs_up_last_has_no_part_in_the_account() {
    let database = database().await;
    let pool = &database.pool;
    let (_, owners) = signed_up(pool, PASSWORD).await;
    let (_, strangers) = signed_up(pool, STRANGERS).await;
    verify(pool, &owners).await.unwrap();
    assert_the_owners(pool, &strangers).await;
}

#[tokio::test]
async fn a_stranger_who_signs_up_after_the_verification_changes_nothing() {
    let database = database().await;
    let pool = &database.pool;
    let (_, owners) = signed_up(pool, PASSWORD).await;
    let (_, unused) = signed_up(pool, STRANGERS).await;
    verify(pool, &owners).await.unwrap();
    sign_up(pool, &email(), password(STRANGERS)).await.unwrap();
    let newest = mails(pool).await.pop().unwrap().template;
    assert_eq!(newest, Mail::AlreadyRegistered);
    assert_the_owners(pool, &unused).await;
    // Nor is any password kept beside the account's own.
    let kept = "SELECT count(*) FROM sign_ups WHERE password_hash IS NOT NULL";
    assert_eq!(count(&database, kept).await, 0);
}

#[tokio::test]
async fn of_two_links_followed_at_once_one_decides_and_the_other_is_over() {
    let database = database().await;
    let pool = &database.pool;
    let (_, owners) = signed_up(pool, PASSWORD).await;
    let (_, strangers) = signed_up(pool, STRANGERS).await;
    let (one, other) = tokio::join!(verify(pool, &owners), verify(pool, &strangers));
    assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
    assert_eq!(opens(pool, PASSWORD).await, one.is_ok());
    assert_eq!(opens(pool, STRANGERS).await, other.is_ok());
}

#[tokio::test]
async fn sign_ups_at_the_same_moment_make_one_account_and_a_mail_each() {
    let database = database().await;
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let pool = database.pool.clone();
            tokio::spawn(async move { sign_up(&pool, &email(), password(PASSWORD)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(count(&database, "SELECT count(*) FROM accounts").await, 1);
    assert_eq!(mails(&database.pool).await.len(), 6);
}

#[tokio::test]
async fn a_failed_sign_up_leaves_neither_account_nor_mail() {
    let database = database().await;
    sqlx::raw_sql("ALTER TABLE job_outbox ADD CONSTRAINT full_up CHECK (queue = 'other')")
        .execute(&database.pool)
        .await
        .unwrap();
    let failed = sign_up(&database.pool, &email(), password(PASSWORD)).await;
    assert!(matches!(failed, Err(domain::Error::Outbox(_))));
    assert_eq!(count(&database, "SELECT count(*) FROM accounts").await, 0);
}

#[tokio::test]
async fn a_token_is_stored_as_a_hash_only() {
    let database = database().await;
    let (_, token) = signed_up(&database.pool, PASSWORD).await;
    let row: String =
        sqlx::query_scalar("SELECT verification_tokens::text FROM verification_tokens")
            .fetch_one(&database.pool)
            .await
            .unwrap();
    assert!(!row.contains(token.expose()));
    let hash: Vec<u8> = sqlx::query_scalar("SELECT token_hash FROM verification_tokens")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    let expected: Vec<u8> = sqlx::query_scalar("SELECT sha256($1::bytea)")
        .bind(token.expose().as_bytes())
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(hash, expected);
}

#[tokio::test]
async fn a_token_works_once_even_at_the_same_moment() {
    let database = database().await;
    sign_up(&database.pool, &email(), password(PASSWORD))
        .await
        .unwrap();
    let (account, sign_up) = asked(&database.pool).await;
    // Two mails of two attempts; both tokens are good until one is used.
    let mut tokens = Vec::new();
    for _ in 0..2 {
        tokens.push(
            issue_verification(&database.pool, sign_up)
                .await
                .unwrap()
                .unwrap()
                .token,
        );
    }
    let tasks: Vec<_> = tokens
        .iter()
        .cycle()
        .take(6)
        .cloned()
        .map(|token| {
            let pool = database.pool.clone();
            tokio::spawn(async move { verify(&pool, &token).await })
        })
        .collect();
    let mut good = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(id) => {
                assert_eq!(id, account);
                good += 1;
            }
            Err(error) => assert!(matches!(error, VerifyError::Used), "{error:?}"),
        }
    }
    assert_eq!(good, 1);
    let again = issue_verification(&database.pool, sign_up).await.unwrap();
    assert!(
        again.is_none(),
        "a verified account has nothing left to verify"
    );
}

#[tokio::test]
async fn a_token_expires_and_a_strange_one_is_unknown() {
    let database = database().await;
    let pool = &database.pool;
    let (_, token) = signed_up(pool, PASSWORD).await;
    let lifetime: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM expires_at - created_at)::float8 FROM verification_tokens",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert!((lifetime - 24.0 * 3600.0).abs() < 1.0);
    sqlx::query(
        "UPDATE verification_tokens SET created_at = now() - interval '2 days',
                                        expires_at = now() - interval '1 second'",
    )
    .execute(pool)
    .await
    .unwrap();
    assert!(matches!(
        verify(pool, &token).await,
        Err(VerifyError::Expired)
    ));
    let strange = Token::parse(&"A".repeat(43)).unwrap();
    assert!(matches!(
        verify(pool, &strange).await,
        Err(VerifyError::Unknown)
    ));
}

#[tokio::test]
async fn text_that_looks_like_sql_is_only_text() {
    let database = database().await;
    let pool = &database.pool;
    let odd = Email::parse("o'neil--x@example.com").unwrap();
    sign_up(pool, &odd, password("'; DROP TABLE accounts; --"))
        .await
        .unwrap();
    let account = find(pool, asked(pool).await.0).await.unwrap().unwrap();
    assert_eq!(account.email, odd.as_str());
    let refused =
        domain::sessions::log_in(pool, &odd, password("'; DROP TABLE accounts; --"), "'; --").await;
    assert!(matches!(refused, Err(LogInError::InvalidCredentials)));
    assert_eq!(count(&database, "SELECT count(*) FROM accounts").await, 1);
}
