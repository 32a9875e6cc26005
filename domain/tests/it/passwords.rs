//! A new password: by the old one, or by a mail.

use domain::Token;
use domain::accounts::{
    OwnerError, ResetError, VerifyError, change_password, complete_password_reset, find,
    issue_password_reset, issue_verification, request_password_reset, verify,
};
use domain::jobs::Mail;
use migrations::testing::database;
use sqlx::PgPool;

use crate::people::{
    PASSWORD, count, email, forget_mails, is_open, mails, opens, password, reset_token, session,
    signed_up, verified,
};

const ADA: &str = "ada@example.com";
const NEW: &str = "battery staple";

/// The account is as it was.
async fn assert_unchanged(pool: &PgPool) {
    assert!(opens(pool, ADA, PASSWORD).await && !opens(pool, ADA, NEW).await);
    assert!(mails(pool).await.is_empty());
}

#[tokio::test]
async fn a_reset_changes_the_password_and_ends_everything_else() {
    let database = database().await;
    let pool = &database.pool;
    verified(pool, "Ada@Example.com").await;
    let (one, other) = (
        session(pool, ADA, PASSWORD).await,
        session(pool, ADA, PASSWORD).await,
    );
    request_password_reset(pool, &email("ADA@example.com"))
        .await
        .unwrap();
    let asked = ("ADA@example.com".to_owned(), Mail::ResetPassword);
    assert_eq!(mails(pool).await, [asked]);
    forget_mails(pool).await;

    let issued = issue_password_reset(pool, &email("ADA@example.com")).await;
    let issued = issued.unwrap().unwrap();
    assert_eq!(issued.to, "Ada@Example.com", "as its owner wrote it");
    let second = reset_token(pool, ADA).await;
    complete_password_reset(pool, &issued.token, password(NEW))
        .await
        .unwrap();

    assert!(opens(pool, ADA, NEW).await && !opens(pool, ADA, PASSWORD).await);
    assert!(!is_open(pool, one).await && !is_open(pool, other).await);
    let told = ("Ada@Example.com".to_owned(), Mail::PasswordChanged);
    assert_eq!(mails(pool).await, [told]);
    for token in [issued.token, second] {
        let again = complete_password_reset(pool, &token, password("a third one")).await;
        assert!(matches!(again, Err(ResetError::Used)), "{again:?}");
    }
    assert!(opens(pool, ADA, NEW).await);
}

#[tokio::test]
async fn a_reset_for_an_unknown_address_is_the_same_work_and_has_no_token() {
    let database = database().await;
    let pool = &database.pool;
    request_password_reset(pool, &email(ADA)).await.unwrap();
    assert_eq!(mails(pool).await, [(ADA.to_owned(), Mail::ResetPassword)]);
    assert!(
        issue_password_reset(pool, &email(ADA))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        count(pool, "SELECT count(*) FROM password_reset_tokens").await,
        0
    );
}

#[tokio::test]
async fn a_reset_token_is_stored_as_a_hash_and_ends_after_an_hour() {
    let database = database().await;
    let pool = &database.pool;
    verified(pool, ADA).await;
    let token = reset_token(pool, ADA).await;
    let row: String = sqlx::query_scalar("SELECT t::text FROM password_reset_tokens AS t")
        .fetch_one(pool)
        .await
        .unwrap();
    assert!(!row.contains(token.expose()));
    let lives =
        "SELECT extract(epoch FROM expires_at - created_at)::int8 FROM password_reset_tokens";
    assert_eq!(count(pool, lives).await, 3600);
    sqlx::query(
        "UPDATE password_reset_tokens SET created_at = now() - interval '1 hour',
                                          expires_at = now() - interval '1 second'",
    )
    .execute(pool)
    .await
    .unwrap();
    let late = complete_password_reset(pool, &token, password(NEW)).await;
    assert!(matches!(late, Err(ResetError::Expired)), "{late:?}");
    let strange = Token::parse(&"A".repeat(43)).unwrap();
    let strange = complete_password_reset(pool, &strange, password(NEW)).await;
    assert!(matches!(strange, Err(ResetError::Unknown)), "{strange:?}");
    assert_unchanged(pool).await;
}

#[tokio::test]
async fn of_resets_at_the_same_moment_one_decides() {
    let database = database().await;
    let pool = &database.pool;
    verified(pool, ADA).await;
    let (first, second) = (reset_token(pool, ADA).await, reset_token(pool, ADA).await);
    let tries = [
        (&first, "one one one"),
        (&first, "two two two"),
        (&second, "three three"),
    ];
    let tasks = tries.map(|(token, text)| {
        let (pool, token) = (pool.clone(), token.clone());
        tokio::spawn(async move { complete_password_reset(&pool, &token, password(text)).await })
    });
    let mut good = Vec::new();
    for (task, (_, text)) in tasks.into_iter().zip(tries) {
        match task.await.unwrap() {
            Ok(()) => good.push(text),
            Err(error) => assert!(matches!(error, ResetError::Used), "{error:?}"),
        }
    }
    assert_eq!(good.len(), 1);
    assert!(opens(pool, ADA, good[0]).await);
    assert_eq!(mails(pool).await.len(), 1);
}

#[tokio::test]
async fn a_reset_of_an_unverified_account_verifies_it_with_the_new_password_alone() {
    let database = database().await;
    let pool = &database.pool;
    let (account, strangers) = signed_up(pool, ADA, "of a stranger").await;
    let (_, owners) = signed_up(pool, ADA, PASSWORD).await;
    let token = reset_token(pool, ADA).await;
    complete_password_reset(pool, &token, password(NEW))
        .await
        .unwrap();
    assert!(opens(pool, ADA, NEW).await);
    assert!(
        find(pool, account)
            .await
            .unwrap()
            .unwrap()
            .verified_at
            .is_some()
    );
    for token in [strangers, owners] {
        let late = verify(pool, &token).await;
        assert!(matches!(late, Err(VerifyError::Unknown)), "{late:?}");
    }
    for text in ["of a stranger", PASSWORD] {
        assert!(!opens(pool, ADA, text).await, "{text}");
    }
    assert_eq!(count(pool, "SELECT count(*) FROM sign_ups").await, 0);
}

#[tokio::test]
async fn tokens_of_one_purpose_are_unknown_to_the_others() {
    let database = database().await;
    let pool = &database.pool;
    let (_, to_verify) = signed_up(pool, ADA, PASSWORD).await;
    let to_reset = reset_token(pool, ADA).await;
    let verified = verify(pool, &to_reset).await;
    assert!(
        matches!(verified, Err(VerifyError::Unknown)),
        "{verified:?}"
    );
    let reset = complete_password_reset(pool, &to_verify, password(NEW)).await;
    assert!(matches!(reset, Err(ResetError::Unknown)), "{reset:?}");
    assert!(!opens(pool, ADA, NEW).await && !opens(pool, ADA, PASSWORD).await);
}

#[tokio::test]
async fn an_owner_changes_the_password_and_keeps_the_session_it_is_done_in() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, ADA).await;
    let (own, other) = (
        session(pool, ADA, PASSWORD).await,
        session(pool, ADA, PASSWORD).await,
    );
    let wrong = change_password(pool, account, own, password(NEW), password(NEW)).await;
    assert!(matches!(wrong, Err(OwnerError::WrongPassword)), "{wrong:?}");
    assert!(is_open(pool, other).await);
    assert_unchanged(pool).await;

    let link = reset_token(pool, ADA).await;
    change_password(pool, account, own, password(PASSWORD), password(NEW))
        .await
        .unwrap();
    assert!(is_open(pool, own).await && !is_open(pool, other).await);
    assert_eq!(mails(pool).await, [(ADA.to_owned(), Mail::PasswordChanged)]);
    assert!(opens(pool, ADA, NEW).await && !opens(pool, ADA, PASSWORD).await);
    let late = complete_password_reset(pool, &link, password(PASSWORD)).await;
    assert!(matches!(late, Err(ResetError::Used)), "{late:?}");
}

#[tokio::test]
async fn of_two_changes_at_once_one_finds_its_password_replaced() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, ADA).await;
    let own = session(pool, ADA, PASSWORD).await;
    let change = |text| change_password(pool, account, own, password(PASSWORD), password(text));
    let (one, other) = tokio::join!(change("one one one"), change("two two two"));
    assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
    assert_eq!(opens(pool, ADA, "one one one").await, one.is_ok());
    assert_eq!(opens(pool, ADA, "two two two").await, other.is_ok());
    assert_eq!(mails(pool).await.len(), 1);
}

#[tokio::test]
async fn a_mail_to_verify_is_pointless_after_a_reset() {
    let database = database().await;
    let pool = &database.pool;
    signed_up(pool, ADA, PASSWORD).await;
    let Some((_, Mail::VerifyAddress { sign_up_id, .. })) = mails(pool).await.pop() else {
        panic!("no mail to verify");
    };
    let token = reset_token(pool, ADA).await;
    complete_password_reset(pool, &token, password(NEW))
        .await
        .unwrap();
    assert!(
        issue_verification(pool, sign_up_id)
            .await
            .unwrap()
            .is_none()
    );
}
