//! The job `purge`: what it forgets, and what it leaves.

use domain::accounts::{Email, Password, sign_up};
use domain::jobs::Purge;
use sqlx::PgPool;

use super::send_email::Fixture;

/// An account of each age and kind, with everything that can be forgotten, fresh and old.
const ROWS: &str = "
    CREATE FUNCTION id_of(age interval) RETURNS uuid LANGUAGE sql AS $$
      SELECT (lpad(to_hex((extract(epoch FROM now() - age) * 1000)::bigint), 12, '0')
              || '7' || substr(md5(random()::text), 1, 3)
              || '8' || substr(md5(random()::text), 1, 15))::uuid $$;
    INSERT INTO accounts (id, email, email_key, password_hash, verified_at)
      SELECT id_of('90 days'), new.name, new.name, '$argon2id$', now()
      FROM (VALUES ('ada@example.com')) AS new (name);
    INSERT INTO accounts (id, email, email_key)
      SELECT id_of('90 days'), new.name, new.name
      FROM (VALUES ('old@example.com'), ('again@example.com'), ('new@example.com')) AS new (name);
    INSERT INTO sign_ups (id, account_id)
      SELECT id_of(age), accounts.id FROM accounts
      JOIN (VALUES ('ada@example.com', interval '8 days'), ('old@example.com', '9 days'),
                   ('old@example.com', '8 days'), ('again@example.com', '8 days'),
                   ('again@example.com', '6 days'), ('new@example.com', '6 days'))
        AS new (name, age) ON new.name = email;
    INSERT INTO verification_tokens (token_hash, sign_up_id, created_at, expires_at)
      SELECT sha256(age::text::bytea), (SELECT max(id::text)::uuid FROM sign_ups),
             now() - age - interval '1 day', now() - age
      FROM (VALUES (interval '25 hours'), ('1 hour')) AS token (age);
    INSERT INTO password_reset_tokens (token_hash, account_id, created_at, expires_at)
      SELECT sha256(age::text::bytea), (SELECT id FROM accounts WHERE verified_at IS NOT NULL),
             now() - age - interval '1 day', now() - age
      FROM (VALUES (interval '25 hours'), ('1 hour')) AS token (age);
    INSERT INTO email_changes (id, account_id, email, created_at, expires_at, completed_at)
      SELECT id_of(age), (SELECT id FROM accounts WHERE verified_at IS NOT NULL), 'x@example.com',
             now() - age - interval '1 day', now() - age, now()
      FROM (VALUES (interval '25 hours'), ('1 hour')) AS change (age);
    -- Ended yesterday, ended now, left alone for a month, in use for two.
    INSERT INTO sessions (id, account_id, user_agent, revoked_at)
      SELECT id_of(age), (SELECT id FROM accounts WHERE verified_at IS NOT NULL), name,
             now() - ended
      FROM (VALUES ('ended', interval '2 days', interval '25 hours'), ('ending', '2 days', '1 hour'),
                   ('left', '31 days', NULL), ('used', '60 days', NULL))
        AS session (name, age, ended);
    INSERT INTO refresh_tokens (token_hash, session_id, created_at, expires_at, used_at)
      SELECT sha256((user_agent || age)::bytea), sessions.id, now() - age,
             now() - age + interval '30 days', CASE WHEN spent THEN now() END
      FROM sessions
      JOIN (VALUES ('ended', interval '2 days', false), ('ending', '2 days', false),
                   ('left', '32 days', true), ('left', '31 days', false),
                   ('used', '40 days', true), ('used', '20 days', true), ('used', '1 day', false))
        AS token (name, age, spent) ON name = user_agent;
    -- Of browsers: one whose cookie has expired, one in use.
    INSERT INTO sessions (id, account_id, user_agent)
      SELECT id_of('1 day'), id, agent FROM accounts, (VALUES ('asleep'), ('awake')) AS browser (agent)
      WHERE verified_at IS NOT NULL;
    INSERT INTO session_cookies (token_hash, session_id, created_at, expires_at)
      SELECT sha256(user_agent::bytea), id, now() - interval '1 day',
             now() + CASE user_agent WHEN 'awake' THEN interval '1 minute' ELSE '-1 minute' END
      FROM sessions WHERE user_agent IN ('asleep', 'awake');
    INSERT INTO admin_actions (id, account_id, action, request_id)
      SELECT id_of(age), gen_random_uuid(), 'retry', ''
      FROM (VALUES (interval '364 days'), ('366 days')) AS action (age);
    INSERT INTO idempotency_keys (account_id, key, request_hash, event_id, deliveries, created_at)
      SELECT id, age::text, sha256(''), id, 0, now() - age
      FROM accounts, (VALUES (interval '25 hours'), ('23 hours')) AS key (age)
      WHERE verified_at IS NOT NULL;
    -- More than a batch of old events.
    INSERT INTO events (id, account_id, type, data)
      SELECT id_of(CASE WHEN n <= 3 THEN interval '29 days' ELSE '31 days' END), id, 'a', '{}'
      FROM accounts, generate_series(1, 2500) AS n WHERE verified_at IS NOT NULL;
    INSERT INTO webhook_endpoints (id, account_id, url, secret_key_id, secret_salt)
      SELECT gen_random_uuid(), id, 'https://example.com/', 'a', sha256('')
      FROM accounts WHERE verified_at IS NOT NULL;
    INSERT INTO webhook_deliveries (id, event_id, endpoint_id, next_attempt_at)
      SELECT events.id, events.id, webhook_endpoints.id, now() - interval '29 days'
      FROM events, webhook_endpoints";

async fn texts(pool: &PgPool, query: &'static str) -> Vec<String> {
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn what_has_ended_is_forgotten_and_nothing_else() {
    let fixture = Fixture::new(None).await;
    let pool = fixture.pool();
    sqlx::raw_sql(ROWS).execute(pool).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    outbox::enqueue(&mut conn, &Purge {}).await.unwrap();
    drop(conn);
    fixture.work().await.assert_all_done();

    let accounts = texts(pool, "SELECT email FROM accounts ORDER BY email").await;
    assert_eq!(
        accounts,
        ["ada@example.com", "again@example.com", "new@example.com"]
    );
    let sign_ups =
        "SELECT email FROM sign_ups JOIN accounts ON accounts.id = account_id ORDER BY 1";
    let sign_ups = texts(pool, sign_ups).await;
    assert_eq!(sign_ups, ["again@example.com", "new@example.com"]);
    let sessions = texts(pool, "SELECT user_agent FROM sessions ORDER BY 1").await;
    assert_eq!(sessions, ["awake", "ending", "used"]);
    let tokens = "SELECT user_agent FROM refresh_tokens JOIN sessions ON sessions.id = session_id
                  ORDER BY 1";
    assert_eq!(texts(pool, tokens).await, ["ending", "used", "used"]);
    let counts = "SELECT concat_ws(' ', (SELECT count(*) FROM verification_tokens),
                    (SELECT count(*) FROM password_reset_tokens),
                    (SELECT count(*) FROM email_changes), (SELECT count(*) FROM idempotency_keys),
                    (SELECT count(*) FROM events), (SELECT count(*) FROM webhook_deliveries),
                    (SELECT count(*) FROM admin_actions))";
    assert_eq!(texts(pool, counts).await, ["1 1 1 1 3 3 1"]);
    let states = texts(pool, "SELECT DISTINCT state FROM webhook_deliveries").await;
    assert_eq!(states, ["failed"], "their jobs never came");
    fixture.end().await;
}

#[tokio::test]
async fn an_account_that_somebody_signs_up_with_is_left_alone() {
    let fixture = Fixture::new(None).await;
    let pool = fixture.pool();
    sqlx::raw_sql(ROWS).execute(pool).await.unwrap();
    // A sign-up with the old address that has locked its row, and goes on once the purge is over.
    let mut theirs = pool.begin().await.unwrap();
    sqlx::query("UPDATE accounts SET email = email WHERE email = 'old@example.com'")
        .execute(&mut *theirs)
        .await
        .unwrap();
    let mut conn = pool.acquire().await.unwrap();
    outbox::enqueue(&mut conn, &Purge {}).await.unwrap();
    drop(conn);
    fixture.work().await.assert_all_done();
    theirs.rollback().await.unwrap();
    let old = "SELECT email FROM accounts WHERE email = 'old@example.com'";
    assert_eq!(texts(pool, old).await.len(), 1);

    let email = Email::parse("old@example.com").unwrap();
    let password = Password::parse("correct horse").unwrap();
    sign_up(pool, &email, password).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    outbox::enqueue(&mut conn, &Purge {}).await.unwrap();
    drop(conn);
    fixture.work().await.assert_all_done();
    assert_eq!(texts(pool, old).await.len(), 1, "it has a new sign-up");
    fixture.end().await;
}
