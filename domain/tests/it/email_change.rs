//! Another address for an account.

use domain::Token;
use domain::accounts::{
    EmailChange, EmailChangeError, OwnerError, ResetError, VerifyError, change_password,
    complete_email_change, complete_password_reset, find, issue_email_change, request_email_change,
    sign_up, verify,
};
use domain::jobs::Mail;
use migrations::testing::database;
use sqlx::PgPool;
use uuid::Uuid;

use crate::people::{
    PASSWORD, ask_for_address, count, email, forget_mails, is_open, mails, opens, password,
    reset_token, session, signed_up, verified,
};

const OLD: &str = "ada@example.com";
const NEW: &str = "Ada.L@Example.org";

/// Asks for a change and gives the id of the request, after a look at the two mails.
async fn asked(pool: &PgPool, account: Uuid, address: &str) -> Uuid {
    forget_mails(pool).await;
    ask_for_address(pool, account, address).await;
    let sent = mails(pool).await;
    let [
        (to, Mail::ConfirmNewAddress { email_change_id }),
        (old, Mail::AddressChangeRequested),
    ] = &sent[..]
    else {
        panic!("{sent:?}");
    };
    assert_eq!((&**to, &**old), (address, OLD));
    let id = *email_change_id;
    forget_mails(pool).await;
    id
}

/// The token of the mail to the new address.
async fn token(pool: &PgPool, change: Uuid) -> Token {
    match issue_email_change(pool, change).await.unwrap() {
        Some(EmailChange::Confirm { token, .. }) => token,
        other => panic!("{other:?}"),
    }
}

async fn address(pool: &PgPool, account: Uuid) -> String {
    find(pool, account).await.unwrap().unwrap().email
}

#[tokio::test]
async fn the_link_to_the_new_address_changes_it_and_sessions_go_on() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, OLD).await;
    let open = session(pool, OLD, PASSWORD).await;
    let change = asked(pool, account, NEW).await;
    let reset = reset_token(pool, OLD).await;
    let token = token(pool, change).await;
    assert_eq!(address(pool, account).await, OLD, "until it is confirmed");

    assert_eq!(complete_email_change(pool, &token).await.unwrap(), account);
    let after = find(pool, account).await.unwrap().unwrap();
    assert_eq!((&*after.email, after.version), (NEW, 2));
    assert!(opens(pool, NEW, PASSWORD).await && !opens(pool, OLD, PASSWORD).await);
    assert!(is_open(pool, open).await);
    assert_eq!(mails(pool).await, [(OLD.to_owned(), Mail::AddressChanged)]);

    let again = complete_email_change(pool, &token).await;
    assert!(matches!(again, Err(EmailChangeError::Used)), "{again:?}");
    let late = complete_password_reset(pool, &reset, password("of the old mailbox")).await;
    assert!(matches!(late, Err(ResetError::Used)), "{late:?}");
    let pointless = issue_email_change(pool, change).await.unwrap();
    assert!(pointless.is_none(), "{pointless:?}");
}

#[tokio::test]
async fn without_the_password_nothing_is_asked_for() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, OLD).await;
    for account in [account, Uuid::now_v7()] {
        let wrong = request_email_change(pool, account, password("not hers"), &email(NEW)).await;
        assert!(matches!(wrong, Err(OwnerError::WrongPassword)), "{wrong:?}");
    }
    assert!(mails(pool).await.is_empty());
    assert_eq!(count(pool, "SELECT count(*) FROM email_changes").await, 0);
}

#[tokio::test]
async fn that_an_address_is_taken_is_told_to_nobody_but_its_owner() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, OLD).await;
    verified(pool, NEW).await;
    let change = asked(pool, account, NEW).await;
    let said = issue_email_change(pool, change).await.unwrap();
    assert!(matches!(said, Some(EmailChange::Taken)), "{said:?}");
    assert_eq!(
        count(pool, "SELECT count(*) FROM email_change_tokens").await,
        0
    );
}

#[tokio::test]
async fn an_address_that_was_taken_after_the_mail_is_a_clear_refusal() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, OLD).await;
    let change = asked(pool, account, NEW).await;
    let token = token(pool, change).await;
    let other = verified(pool, NEW).await;
    let refused = complete_email_change(pool, &token).await;
    assert!(
        matches!(refused, Err(EmailChangeError::Taken)),
        "{refused:?}"
    );
    assert_eq!(address(pool, account).await, OLD);
    assert_eq!(address(pool, other).await, NEW);
    assert!(mails(pool).await.is_empty());
}

#[tokio::test]
async fn an_account_that_nobody_verified_gives_its_address_up() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, OLD).await;
    let (squatter, squatters) = signed_up(pool, NEW, "of a stranger").await;
    let change = asked(pool, account, NEW).await;
    complete_email_change(pool, &token(pool, change).await)
        .await
        .unwrap();
    assert!(find(pool, squatter).await.unwrap().is_none());
    let late = verify(pool, &squatters).await;
    assert!(matches!(late, Err(VerifyError::Unknown)), "{late:?}");
    assert!(opens(pool, NEW, PASSWORD).await && !opens(pool, NEW, "of a stranger").await);
}

#[tokio::test]
async fn a_change_and_a_verification_of_one_address_at_once_leave_it_to_one_of_them() {
    let database = database().await;
    let pool = &database.pool;
    for round in 0..8 {
        let (old, new) = (
            format!("old{round}@example.com"),
            format!("new{round}@example.com"),
        );
        let account = verified(pool, &old).await;
        let (rival, link) = signed_up(pool, &new, "of the rival").await;
        ask_for_address(pool, account, &new).await;
        let Some((_, Mail::ConfirmNewAddress { email_change_id })) = mails(pool)
            .await
            .into_iter()
            .rev()
            .find(|(to, _)| *to == new)
        else {
            panic!("no mail to {new}");
        };
        let token = token(pool, email_change_id).await;
        let (changed, confirmed) =
            tokio::join!(complete_email_change(pool, &token), verify(pool, &link));
        assert_ne!(
            changed.is_ok(),
            confirmed.is_ok(),
            "{changed:?} {confirmed:?}"
        );
        assert_eq!(opens(pool, &new, PASSWORD).await, changed.is_ok());
        assert_eq!(opens(pool, &new, "of the rival").await, confirmed.is_ok());
        if let Err(error) = changed {
            assert!(matches!(error, EmailChangeError::Taken), "{error:?}");
            assert_eq!(address(pool, rival).await, new);
        }
    }
}

#[tokio::test]
async fn a_change_and_a_sign_up_at_once_both_end_well() {
    let database = database().await;
    let pool = &database.pool;
    for round in 0..8 {
        let (old, new) = (
            format!("old{round}@example.com"),
            format!("new{round}@example.com"),
        );
        let account = verified(pool, &old).await;
        forget_mails(pool).await;
        let new_email = email(&new);
        ask_for_address(pool, account, &new).await;
        let Some((_, Mail::ConfirmNewAddress { email_change_id })) =
            mails(pool).await.into_iter().next()
        else {
            panic!("no mail to {new}");
        };
        let token = token(pool, email_change_id).await;
        let (changed, signed_up) = tokio::join!(
            complete_email_change(pool, &token),
            sign_up(pool, &new_email, password("of the rival")),
        );
        signed_up.unwrap();
        // Where the sign-up came between its two statements, a second click does it.
        let changed = match changed {
            Err(EmailChangeError::Taken) => complete_email_change(pool, &token).await,
            other => other,
        };
        assert_eq!(changed.unwrap(), account);
        assert!(opens(pool, &new, PASSWORD).await && !opens(pool, &new, "of the rival").await);
    }
}

#[tokio::test]
async fn two_uses_at_once_change_it_once() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, OLD).await;
    let change = asked(pool, account, NEW).await;
    // Two mails of two attempts of the job.
    let (first, second) = (token(pool, change).await, token(pool, change).await);
    let (one, other) = tokio::join!(
        complete_email_change(pool, &first),
        complete_email_change(pool, &second)
    );
    assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
    let refused = one.and(other);
    assert!(
        matches!(refused, Err(EmailChangeError::Used)),
        "{refused:?}"
    );
    assert_eq!(find(pool, account).await.unwrap().unwrap().version, 2);
    assert_eq!(mails(pool).await.len(), 1);
}

#[tokio::test]
async fn a_later_request_and_a_new_password_end_an_open_one() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, OLD).await;
    let change = asked(pool, account, NEW).await;
    let first = token(pool, change).await;
    let change = asked(pool, account, "ada@example.net").await;
    let second = token(pool, change).await;
    let ended = complete_email_change(pool, &first).await;
    assert!(matches!(ended, Err(EmailChangeError::Unknown)), "{ended:?}");
    let own = session(pool, OLD, PASSWORD).await;
    change_password(
        pool,
        account,
        own,
        password(PASSWORD),
        password("battery staple"),
    )
    .await
    .unwrap();
    let ended = complete_email_change(pool, &second).await;
    assert!(matches!(ended, Err(EmailChangeError::Unknown)), "{ended:?}");
    assert_eq!(address(pool, account).await, OLD);
}

#[tokio::test]
async fn a_token_is_for_this_alone_and_for_a_day() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, OLD).await;
    let change = asked(pool, account, NEW).await;
    let good = token(pool, change).await;
    let verified = verify(pool, &good).await;
    assert!(
        matches!(verified, Err(VerifyError::Unknown)),
        "{verified:?}"
    );
    let reset = complete_password_reset(pool, &good, password("battery staple")).await;
    assert!(matches!(reset, Err(ResetError::Unknown)), "{reset:?}");
    let other = reset_token(pool, OLD).await;
    let changed = complete_email_change(pool, &other).await;
    assert!(
        matches!(changed, Err(EmailChangeError::Unknown)),
        "{changed:?}"
    );

    let lives = "SELECT extract(epoch FROM expires_at - created_at)::int8 FROM email_changes";
    assert_eq!(count(pool, lives).await, 24 * 3600);
    let row: String = sqlx::query_scalar("SELECT t::text FROM email_change_tokens AS t")
        .fetch_one(pool)
        .await
        .unwrap();
    assert!(!row.contains(good.expose()));
    sqlx::query(
        "UPDATE email_changes SET created_at = now() - interval '1 day',
                                  expires_at = now() - interval '1 second'",
    )
    .execute(pool)
    .await
    .unwrap();
    let late = complete_email_change(pool, &good).await;
    assert!(matches!(late, Err(EmailChangeError::Expired)), "{late:?}");
    assert_eq!(address(pool, account).await, OLD);
}

#[tokio::test]
async fn the_spelling_of_the_own_address_can_be_changed() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool, OLD).await;
    let change = asked(pool, account, "ADA@Example.com").await;
    complete_email_change(pool, &token(pool, change).await)
        .await
        .unwrap();
    assert_eq!(address(pool, account).await, "ADA@Example.com");
    assert!(opens(pool, OLD, PASSWORD).await);
}
