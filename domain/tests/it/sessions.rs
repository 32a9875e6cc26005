//! Log-in, refresh, and the end of sessions.

use domain::Token;
use domain::accounts::sign_up;
use domain::sessions::{
    Issued, LogInError, MOST_SESSIONS, RefreshError, is_live, list, refresh, revoke, revoke_all,
};
use migrations::testing::database;
use sqlx::PgPool;
use uuid::Uuid;

use crate::accounts::{PASSWORD, count, email, password, verified};

const BROWSER: &str = "Browser/1.0";

/// A log-in with the address that all tests use.
pub(crate) async fn log_in(pool: &PgPool, text: &str) -> Result<Issued, LogInError> {
    domain::sessions::log_in(pool, &email(), password(text), BROWSER).await
}

async fn logged_in(pool: &PgPool) -> Issued {
    log_in(pool, PASSWORD).await.unwrap()
}

/// The next token, or why there is none.
async fn next(pool: &PgPool, token: &Token) -> Result<Token, RefreshError> {
    let issued = refresh(pool, token, BROWSER).await?;
    Ok(issued.refresh_token)
}

async fn is_refused(pool: &PgPool, token: &Token) -> bool {
    matches!(next(pool, token).await, Err(RefreshError::Refused))
}

async fn end(pool: &PgPool, account: Uuid, session: Uuid) -> bool {
    let mut conn = pool.acquire().await.unwrap();
    revoke(&mut conn, account, session).await.unwrap()
}

async fn end_all(pool: &PgPool, account: Uuid, except: Option<Uuid>) -> u64 {
    let mut conn = pool.acquire().await.unwrap();
    revoke_all(&mut conn, account, except).await.unwrap()
}

/// The ids of the sessions that are listed.
async fn listed(pool: &PgPool, account: Uuid) -> Vec<Uuid> {
    let all = list(pool, account, None, 1000).await.unwrap();
    all.into_iter().map(|session| session.id).collect()
}

/// Lets time pass for every refresh token.
async fn expire(pool: &PgPool) {
    let expire = "UPDATE refresh_tokens SET created_at = now() - interval '31 days',
                                            expires_at = now() - interval '1 second'";
    sqlx::query(expire).execute(pool).await.unwrap();
}

#[tokio::test]
async fn log_in_opens_a_session_with_a_hashed_refresh_token() {
    let database = database().await;
    let account = verified(&database.pool).await;
    let session = logged_in(&database.pool).await;
    assert_eq!(session.account_id, account);
    let row: String = sqlx::query_scalar(
        "SELECT refresh_tokens::text FROM refresh_tokens WHERE session_id = $1 AND used_at IS NULL",
    )
    .bind(session.session_id)
    .fetch_one(&database.pool)
    .await
    .unwrap();
    assert!(!row.contains(session.refresh_token.expose()));
    let other = logged_in(&database.pool).await;
    assert_ne!(other.session_id, session.session_id);
    assert_ne!(other.refresh_token.expose(), session.refresh_token.expose());
}

#[tokio::test]
async fn log_in_does_not_say_which_half_was_wrong() {
    let database = database().await;
    let pool = &database.pool;
    let unknown = log_in(pool, PASSWORD).await;
    assert!(matches!(unknown, Err(LogInError::InvalidCredentials)));

    sign_up(pool, &email(), password(PASSWORD)).await.unwrap();
    let wrong = log_in(pool, "wrong password").await;
    assert!(matches!(wrong, Err(LogInError::InvalidCredentials)));
    // Whoever signed up with a stranger's address knows the password, too, and must not learn from
    // it whether the address had an account before.
    let unverified = log_in(pool, PASSWORD).await;
    assert!(matches!(unverified, Err(LogInError::InvalidCredentials)));
    assert_eq!(count(&database, "SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test]
async fn a_log_in_that_meets_a_change_of_the_password_opens_nothing() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let mut change = pool.begin().await.unwrap();
    sqlx::query("UPDATE accounts SET password_hash = password_hash || 'x'")
        .execute(&mut *change)
        .await
        .unwrap();
    revoke_all(&mut change, account, None).await.unwrap();
    // It reads the old hash, finds the password right, and then has to wait for the change.
    let waiting = {
        let pool = pool.clone();
        tokio::spawn(async move { log_in(&pool, PASSWORD).await })
    };
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while count(&database, waits).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    change.commit().await.unwrap();
    let refused = waiting.await.unwrap();
    assert!(matches!(refused, Err(LogInError::InvalidCredentials)));
    assert!(listed(pool, account).await.is_empty());
}

#[tokio::test]
async fn an_account_has_a_bounded_number_of_sessions() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let oldest = logged_in(pool).await;
    let more = "INSERT INTO sessions (id, account_id, last_used_at)
                SELECT gen_random_uuid(), $1, now() - make_interval(hours => n::int4)
                FROM generate_series(1, $2) AS n";
    sqlx::query(more)
        .bind(account)
        .bind(MOST_SESSIONS)
        .execute(pool)
        .await
        .unwrap();
    let newest = logged_in(pool).await;
    let live = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL";
    assert_eq!(count(&database, live).await, MOST_SESSIONS);
    // What counts is when they were used, not when they began.
    for session in [oldest, newest] {
        assert!(is_live(pool, account, session.session_id).await.unwrap());
    }
}

#[tokio::test]
async fn refresh_tokens_follow_each_other_in_one_session() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let first = logged_in(pool).await;
    let begun = list(pool, account, None, 1).await.unwrap();
    assert_eq!(begun[0].user_agent, BROWSER);

    let second = refresh(pool, &first.refresh_token, BROWSER).await.unwrap();
    assert_eq!(
        (second.account_id, second.session_id),
        (account, first.session_id)
    );
    let third = next(pool, &second.refresh_token).await.unwrap();
    let stored: String =
        sqlx::query_scalar("SELECT string_agg(t::text, ',') FROM refresh_tokens t")
            .fetch_one(pool)
            .await
            .unwrap();
    for token in [&first.refresh_token, &second.refresh_token, &third] {
        assert!(!stored.contains(token.expose()));
    }
    let seen = list(pool, account, None, 10).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].created_at, begun[0].created_at);
    assert!(seen[0].last_used_at > begun[0].last_used_at);
}

#[tokio::test]
async fn a_long_user_agent_is_cut_between_characters() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let first = logged_in(pool).await;
    let long = "ü".repeat(300);
    refresh(pool, &first.refresh_token, &long).await.unwrap();
    let seen = list(pool, account, None, 1).await.unwrap();
    assert_eq!(seen[0].user_agent, "ü".repeat(256));
}

#[tokio::test]
async fn a_token_used_twice_ends_its_session_and_no_other() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let (first, other) = (logged_in(pool).await, logged_in(pool).await);
    let second = next(pool, &first.refresh_token).await.unwrap();
    let third = next(pool, &second).await.unwrap();
    match next(pool, &first.refresh_token).await {
        Err(RefreshError::Reused { session_id }) => assert_eq!(session_id, first.session_id),
        other => panic!("{other:?}"),
    }
    // The family is over, for the thief and for the owner, and it is told once.
    for token in [&first.refresh_token, &second, &third] {
        assert!(is_refused(pool, token).await);
    }
    assert_eq!(listed(pool, account).await, [other.session_id]);
    next(pool, &other.refresh_token).await.unwrap();
}

#[tokio::test]
async fn of_uses_at_the_same_moment_one_wins_and_the_session_ends() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let first = logged_in(pool).await;
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (pool, token) = (pool.clone(), first.refresh_token.clone());
            tokio::spawn(async move { next(&pool, &token).await })
        })
        .collect();
    let (mut won, mut reused) = (Vec::new(), 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(token) => won.push(token),
            Err(RefreshError::Reused { .. }) => reused += 1,
            Err(RefreshError::Refused) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((won.len(), reused), (1, 1));
    assert!(is_refused(pool, &won[0]).await);
    assert!(listed(pool, account).await.is_empty());
}

/// A deletion holds the session first and its tokens last; so must a refresh.
#[tokio::test]
async fn a_refresh_and_the_deletion_of_its_session_do_not_wait_for_each_other() {
    let database = database().await;
    let pool = &database.pool;
    verified(pool).await;
    let issued = logged_in(pool).await;
    let mut deletion = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM sessions FOR UPDATE")
        .execute(&mut *deletion)
        .await
        .unwrap();
    let refresh = {
        let (pool, token) = (pool.clone(), issued.refresh_token.clone());
        tokio::spawn(async move { next(&pool, &token).await })
    };
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while count(&database, waiting).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    sqlx::query("DELETE FROM sessions")
        .execute(&mut *deletion)
        .await
        .unwrap();
    deletion.commit().await.unwrap();
    let refused = refresh.await.unwrap();
    assert!(matches!(refused, Err(RefreshError::Refused)), "{refused:?}");
}

#[tokio::test]
async fn tokens_that_are_over_are_refused_alike() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let strange = Token::parse(&"A".repeat(43)).unwrap();
    assert!(is_refused(pool, &strange).await);

    let revoked = logged_in(pool).await;
    assert!(end(pool, account, revoked.session_id).await);
    assert!(is_refused(pool, &revoked.refresh_token).await);

    let expired = logged_in(pool).await;
    expire(pool).await;
    assert!(listed(pool, account).await.is_empty());
    assert!(is_refused(pool, &expired.refresh_token).await);

    let gone = logged_in(pool).await;
    sqlx::query("DELETE FROM accounts")
        .execute(pool)
        .await
        .unwrap();
    assert!(is_refused(pool, &gone.refresh_token).await);
}

#[tokio::test]
async fn a_refresh_token_holds_for_thirty_days() {
    let database = database().await;
    verified(&database.pool).await;
    logged_in(&database.pool).await;
    let days = "SELECT extract(day FROM expires_at - created_at)::int8 FROM refresh_tokens";
    assert_eq!(count(&database, days).await, 30);
}

#[tokio::test]
async fn a_session_is_ended_once_and_by_its_owner_alone() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let session = logged_in(pool).await.session_id;
    assert!(!end(pool, Uuid::now_v7(), session).await);
    assert!(!is_live(pool, Uuid::now_v7(), session).await.unwrap());
    assert!(is_live(pool, account, session).await.unwrap());
    assert!(end(pool, account, session).await);
    assert!(!end(pool, account, session).await);
    assert!(!is_live(pool, account, session).await.unwrap());
}

#[tokio::test]
async fn all_sessions_end_together_but_for_the_one_that_is_kept() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(logged_in(pool).await.session_id);
    }
    opened.reverse();
    assert_eq!(listed(pool, account).await, opened, "newest first");
    let before = list(pool, account, Some(opened[0]), 1).await.unwrap();
    assert_eq!(before[0].id, opened[1]);

    assert_eq!(end_all(pool, Uuid::now_v7(), None).await, 0);
    assert_eq!(end_all(pool, account, Some(opened[1])).await, 2);
    assert_eq!(listed(pool, account).await, [opened[1]]);
    assert_eq!(end_all(pool, account, None).await, 1);
}
