//! Accounts for tests, and what one can see of them.

use domain::Token;
use domain::accounts::{
    Email, Password, issue_password_reset, issue_verification, request_email_change, sign_up,
    verify,
};
use domain::jobs::{Mail, SendEmail};
use domain::sessions::{LogInError, log_in};
use sqlx::PgPool;
use uuid::Uuid;

/// The password of everybody here.
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

pub(crate) fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

/// The mails in the outbox, oldest first, as receiver and template.
pub(crate) async fn mails(pool: &PgPool) -> Vec<(String, Mail)> {
    let waiting = outbox::testing::enqueued::<SendEmail>(pool).await;
    waiting
        .into_iter()
        .map(|mail| (mail.job.to, mail.job.template))
        .collect()
}

/// Forgets the mails so far, so that [`mails`] has those of what comes next.
pub(crate) async fn forget_mails(pool: &PgPool) {
    sqlx::query("DELETE FROM job_outbox")
        .execute(pool)
        .await
        .unwrap();
}

/// Signs up, and gives the account and the token that the mail about it contains.
pub(crate) async fn signed_up(pool: &PgPool, address: &str, text: &str) -> (Uuid, Token) {
    let email = email(address);
    sign_up(pool, &email, password(text)).await.unwrap();
    let Some((
        _,
        Mail::VerifyAddress {
            account_id,
            sign_up_id,
        },
    )) = mails(pool).await.pop()
    else {
        panic!("no mail to verify {address}");
    };
    let issued = issue_verification(pool, sign_up_id).await.unwrap();
    (account_id, issued.unwrap().token)
}

/// A verified account with [`PASSWORD`], and no mail in the outbox.
pub(crate) async fn verified(pool: &PgPool, address: &str) -> Uuid {
    let (account, token) = signed_up(pool, address, PASSWORD).await;
    verify(pool, &token).await.unwrap();
    forget_mails(pool).await;
    account
}

/// A session of this account, opened with its password.
pub(crate) async fn session(pool: &PgPool, address: &str, text: &str) -> Uuid {
    let opened = log_in(pool, &email(address), password(text), "Browser/1.0").await;
    opened.unwrap().session_id
}

/// Whether this address and this password let anybody in.
pub(crate) async fn opens(pool: &PgPool, address: &str, text: &str) -> bool {
    match log_in(pool, &email(address), password(text), "Browser/1.0").await {
        Ok(_) => true,
        Err(LogInError::InvalidCredentials) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// Whether a session has not been ended.
pub(crate) async fn is_open(pool: &PgPool, session: Uuid) -> bool {
    sqlx::query_scalar("SELECT revoked_at IS NULL FROM sessions WHERE id = $1")
        .bind(session)
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Asks for another address, with [`PASSWORD`].
pub(crate) async fn ask_for_address(pool: &PgPool, account: Uuid, address: &str) {
    let address = email(address);
    request_email_change(pool, account, password(PASSWORD), &address)
        .await
        .unwrap();
}

/// The token of a mail that resets this account's password.
pub(crate) async fn reset_token(pool: &PgPool, address: &str) -> Token {
    let issued = issue_password_reset(pool, &email(address)).await.unwrap();
    issued.unwrap().token
}

pub(crate) async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}
