//! Mails of a sign-up once more.

use domain::accounts::{MOST_RESENT, issue_verification, request_resend, resend, sign_up, verify};
use domain::jobs::{Mail, ResendVerification};
use migrations::testing::database;
use sqlx::PgPool;
use uuid::Uuid;

use crate::people::{PASSWORD, email, forget_mails, mails, opens, password, signed_up, verified};

const ADA: &str = "ada@example.com";

/// The mails that a resend puts into the outbox.
async fn resent(pool: &PgPool, address: &str) -> Vec<(String, Mail)> {
    forget_mails(pool).await;
    let mut tx = pool.begin().await.unwrap();
    let count = resend(&mut tx, &email(address)).await.unwrap();
    tx.commit().await.unwrap();
    let mails = mails(pool).await;
    assert_eq!(mails.len(), count);
    mails
}

fn sign_ups(mails: &[(String, Mail)]) -> Vec<Uuid> {
    let sign_up = |(_, mail): &(String, Mail)| match mail {
        Mail::VerifyAddress { sign_up_id, .. } => *sign_up_id,
        other => panic!("{other:?}"),
    };
    mails.iter().map(sign_up).collect()
}

#[tokio::test]
async fn to_ask_is_the_same_for_every_address() {
    let database = database().await;
    let pool = &database.pool;
    signed_up(pool, "new@example.com", PASSWORD).await;
    verified(pool, ADA).await;
    for address in ["new@example.com", ADA, "unknown@example.com"] {
        request_resend(pool, &email(address)).await.unwrap();
    }
    let asked = outbox::testing::enqueued::<ResendVerification>(pool).await;
    let asked: Vec<_> = asked.into_iter().map(|job| job.job.email).collect();
    assert_eq!(asked, ["new@example.com", ADA, "unknown@example.com"]);
    assert!(mails(pool).await.is_empty());
}

#[tokio::test]
async fn each_waiting_sign_up_gets_its_own_mail_and_brings_its_own_password() {
    let database = database().await;
    let pool = &database.pool;
    sign_up(pool, &email("Ada@Example.com"), password(PASSWORD))
        .await
        .unwrap();
    let owners = sign_ups(&mails(pool).await)[0];
    forget_mails(pool).await;
    sign_up(pool, &email("Ada@Example.com"), password("of a stranger"))
        .await
        .unwrap();
    let strangers = sign_ups(&mails(pool).await)[0];

    let mails = resent(pool, "ADA@example.com").await;
    assert_eq!(sign_ups(&mails), [strangers, owners], "newest first");
    assert!(mails.iter().all(|(to, _)| to == "Ada@Example.com"));
    let link = issue_verification(pool, owners).await.unwrap().unwrap();
    verify(pool, &link.token).await.unwrap();
    assert!(opens(pool, ADA, PASSWORD).await && !opens(pool, ADA, "of a stranger").await);
}

#[tokio::test]
async fn a_verified_account_is_told_so_and_an_unknown_address_nothing() {
    let database = database().await;
    let pool = &database.pool;
    verified(pool, ADA).await;
    assert_eq!(
        resent(pool, ADA).await,
        [(ADA.to_owned(), Mail::AlreadyVerified)]
    );
    assert!(resent(pool, "unknown@example.com").await.is_empty());
}

#[tokio::test]
async fn one_request_sends_few_mails() {
    let database = database().await;
    let pool = &database.pool;
    for _ in 0..=MOST_RESENT {
        sign_up(pool, &email(ADA), password(PASSWORD))
            .await
            .unwrap();
    }
    let newest = sign_ups(&mails(pool).await).split_off(1);
    let mut resent = sign_ups(&resent(pool, ADA).await);
    resent.reverse();
    assert_eq!(resent, newest);
}
