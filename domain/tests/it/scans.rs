//! Every query that grows has its index: none reads a large table from its first row to its last.
//!
//! What is tested are the functions of `domain` themselves, not copies of their SQL. Postgres counts
//! for each table how often a plan has begun to read all of it (`seq_scan` of
//! `pg_stat_user_tables`); each function is called on a connection of its own, and the counts must
//! stay. The tables have 100,000 rows, a thousand accounts with a hundred of each, so that reading
//! all of one would be the wrong choice, and a planner that makes it has no index for another. Once
//! with plans made for the values, and once with plans made for any, which Postgres changes to after
//! some calls. The triggers behind foreign keys are counted like everything else.

use std::collections::BTreeMap;

use domain::accounts::{self, Email, EmailChange, Name, Password, ProfileChange};
use domain::jobs::DeliverWebhook;
use domain::webhooks::{
    self, Change, DeliveryState, EventType, IdempotencyKey, Keys, NewEndpoint, NewEvent, Noted,
    Outcome, Response, Target, Targets,
};
use domain::{Token, audit, sessions};
use migrations::testing::database;
use queue::JobId;
use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

const ROWS: &str = "
    CREATE FUNCTION id(of text, n bigint) RETURNS uuid LANGUAGE sql AS $$ SELECT md5(of || n)::uuid $$;
    INSERT INTO accounts (id, email, email_key, password_hash, verified_at, role)
      SELECT id('account', n), n || '@example.com', n || '@example.com', '$argon2id$', now(),
             CASE WHEN n % 10000 = 0 THEN 'admin' ELSE 'member' END
      FROM generate_series(0, 99999) AS n;
    INSERT INTO sign_ups (id, account_id)
      SELECT id('sign-up', n), id('account', n) FROM generate_series(0, 99999) AS n;
    INSERT INTO verification_tokens (token_hash, sign_up_id, expires_at)
      SELECT sha256(n::text::bytea), id('sign-up', n), now() + n % 1000 * interval '1 minute 1 second'
             + interval '1 second' FROM generate_series(0, 99999) AS n;
    INSERT INTO password_reset_tokens (token_hash, account_id, expires_at)
      SELECT sha256(n::text::bytea), id('account', n), now() + n % 1000 * interval '1 second'
             + interval '1 second' FROM generate_series(0, 99999) AS n;
    INSERT INTO email_changes (id, account_id, email, expires_at)
      SELECT id('change', n), id('account', n), 'x@example.com', now() + n % 1000 * interval '1 minute'
             + interval '1 second' FROM generate_series(0, 99999) AS n;
    INSERT INTO email_change_tokens (token_hash, email_change_id)
      SELECT sha256(n::text::bytea), id('change', n) FROM generate_series(0, 99999) AS n;
    INSERT INTO sessions (id, account_id, revoked_at)
      SELECT id('session', n), id('account', n % 1000),
             CASE WHEN n % 10 > 0 THEN now() - n % 1000 * interval '1 minute' END
      FROM generate_series(0, 99999) AS n;
    INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
      SELECT sha256(n::text::bytea), id('session', n), now() + n % 1000 * interval '1 hour'
             + interval '1 second' FROM generate_series(0, 99999) AS n;
    INSERT INTO session_cookies (token_hash, session_id, expires_at)
      SELECT sha256(n::text::bytea), id('session', n), now() + n % 1000 * interval '1 minute'
             + interval '1 second' FROM generate_series(0, 99999) AS n;
    INSERT INTO webhook_endpoints (id, account_id, url, secret_key_id, secret_salt)
      SELECT id('endpoint', n), id('account', n % 1000), 'https://example.com/', 'a', sha256('')
      FROM generate_series(0, 99999) AS n;
    INSERT INTO events (id, account_id, type, data)
      SELECT id('event', n), id('account', n % 1000), 'type_' || n % 7, '{}'
      FROM generate_series(0, 99999) AS n;
    INSERT INTO webhook_deliveries (id, event_id, endpoint_id, state)
      SELECT id('delivery', n), id('event', n), id('endpoint', n % 1000),
             CASE WHEN n / 1000 = 0 THEN 'pending' WHEN n / 1000 < 9 THEN 'failed'
                  ELSE 'delivered' END
      FROM generate_series(0, 99999) AS n;
    INSERT INTO idempotency_keys (account_id, key, request_hash, event_id, deliveries, created_at)
      SELECT id('account', n % 1000), n, sha256(''), id('event', n), 1,
             now() - n % 1000 * interval '1 minute' FROM generate_series(0, 99999) AS n;
    INSERT INTO job_outbox (id, queue, envelope, once)
      SELECT id('job', n), 'default', '', true FROM generate_series(0, 99999) AS n;
    INSERT INTO job_done (id) SELECT id('job', n) FROM generate_series(0, 99999) AS n;
    INSERT INTO admin_actions (id, account_id, action, request_id)
      SELECT id('action', n), id('account', n % 1000), 'retry', '' FROM generate_series(0, 99999) AS n;
    ANALYZE";

/// A pool of one connection, and what was counted on it so far.
struct Counted {
    pool: PgPool,
    scans: BTreeMap<String, i64>,
    /// What has read a whole table, and which.
    guilty: Vec<String>,
}

impl Counted {
    /// Looks at what `call`, which is over, has added to the counts.
    async fn check(&mut self, call: &str) {
        sqlx::query("SELECT pg_stat_force_next_flush()")
            .execute(&self.pool)
            .await
            .unwrap();
        let scans = "SELECT relname::text, seq_scan FROM pg_stat_user_tables";
        let scans: Vec<(String, i64)> = sqlx::query_as(scans).fetch_all(&self.pool).await.unwrap();
        for (table, count) in scans {
            let before = self.scans.insert(table.clone(), count).unwrap_or(0);
            if count > before && table != "_sqlx_migrations" {
                self.guilty.push(format!("{call}: {table}"));
            }
        }
    }
}

/// Calls, and then checks by the call's own text.
macro_rules! check {
    ($counted:ident, $call:expr) => {{
        let answer = $call.await.unwrap();
        $counted.check(stringify!($call)).await;
        answer
    }};
}

#[tokio::test]
async fn no_query_reads_a_large_table_from_end_to_end() {
    let database = database().await;
    sqlx::raw_sql(ROWS).execute(&database.pool).await.unwrap();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let options = database
            .options
            .clone()
            .options([("plan_cache_mode", mode)]);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(options);
        let mut counted = Counted {
            pool: pool.clone(),
            scans: BTreeMap::new(),
            guilty: Vec::new(),
        };
        counted.check("before").await;
        counted.guilty.clear();
        // What counts at all: a query that no index is for.
        sqlx::query("SELECT FROM accounts WHERE name = 'Ada'")
            .execute(&pool)
            .await
            .unwrap();
        counted.check("the test").await;
        assert_eq!(std::mem::take(&mut counted.guilty), ["the test: accounts"]);

        let owner = people(&mut counted, &pool).await;
        told(&mut counted, &pool, owner).await;
        purged(&mut counted, &pool).await;
        check!(
            counted,
            accounts::delete(&pool, owner, password("another horse"))
        );
        assert!(counted.guilty.is_empty(), "{mode}: {:#?}", counted.guilty);
        pool.close().await;
    }
}

fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

/// All that there is of accounts and sessions; gives an account with the password "another horse".
async fn people(counted: &mut Counted, pool: &PgPool) -> Uuid {
    let email = Email::parse("ada@example.com").unwrap();
    check!(
        counted,
        accounts::sign_up(pool, &email, password("correct horse"))
    );
    check!(counted, accounts::request_resend(pool, &email));
    let mut conn = pool.acquire().await.unwrap();
    accounts::resend(&mut conn, &email).await.unwrap();
    drop(conn);
    counted.check("accounts::resend").await;
    let sign_up: Uuid = sqlx::query_scalar("SELECT id FROM sign_ups WHERE account_id = (SELECT id FROM accounts WHERE email_key = 'ada@example.com')")
        .fetch_one(pool)
        .await
        .unwrap();
    let issued = check!(counted, accounts::issue_verification(pool, sign_up)).unwrap();
    let owner = check!(counted, accounts::verify(pool, &issued.token));
    check!(counted, accounts::find(pool, owner));
    check!(counted, accounts::find_by_email(pool, &email));
    check!(counted, accounts::list(pool, None, 21));
    check!(counted, accounts::list(pool, Some(owner), 21));
    check!(counted, accounts::role(pool, owner));
    check!(counted, accounts::admins(pool));
    check!(counted, accounts::grant_admin(pool, &email));
    check!(counted, accounts::revoke_admin(pool, &email, false));
    let change = ProfileChange {
        name: Some(Name::parse("Ada").unwrap()),
    };
    check!(
        counted,
        accounts::change_profile(pool, owner, &change, None)
    );

    let issued = check!(
        counted,
        sessions::log_in(pool, &email, password("correct horse"), "")
    );
    let session = issued.session_id;
    check!(counted, sessions::refresh(pool, &issued.refresh_token, ""));
    check!(counted, sessions::list(pool, owner, None, 21));
    check!(counted, sessions::list(pool, owner, Some(session), 21));
    check!(counted, sessions::is_live(pool, owner, session));
    check!(counted, accounts::grant_admin(pool, &email));
    let horse = password("correct horse");
    let (_, cookie) = check!(counted, sessions::sign_in(pool, &email, horse, ""));
    let signed_in = check!(counted, sessions::find_by_cookie(pool, &cookie)).unwrap();
    check!(counted, sessions::prolong(pool, signed_in.session_id));
    let action = audit::Action {
        name: "retry",
        queue: None,
        target: None,
    };
    check!(counted, audit::record(pool, owner, "", &action));
    check!(counted, audit::list(pool, None, 21));
    check!(counted, audit::list(pool, Some(owner), 21));
    let new = password("a new horse");
    check!(
        counted,
        accounts::change_password(pool, owner, session, password("correct horse"), new)
    );
    let mut conn = pool.acquire().await.unwrap();
    sessions::revoke(&mut conn, owner, session).await.unwrap();
    sessions::revoke_all(&mut conn, owner, Some(session))
        .await
        .unwrap();
    drop(conn);
    counted.check("sessions::revoke, revoke_all").await;
    let unknown = Token::parse(&"A".repeat(43)).unwrap();
    assert!(sessions::refresh(pool, &unknown, "").await.is_err());
    counted.check("sessions::refresh of an unknown token").await;

    let to = Email::parse("ada@example.org").unwrap();
    check!(
        counted,
        accounts::request_email_change(pool, owner, password("a new horse"), &to)
    );
    let change: Uuid = sqlx::query_scalar("SELECT id FROM email_changes WHERE account_id = $1")
        .bind(owner)
        .fetch_one(pool)
        .await
        .unwrap();
    let issued = check!(counted, accounts::issue_email_change(pool, change)).unwrap();
    let EmailChange::Confirm { token, .. } = issued else {
        panic!("{issued:?}");
    };
    check!(counted, accounts::complete_email_change(pool, &token));
    check!(counted, accounts::request_password_reset(pool, &to));
    let issued = check!(counted, accounts::issue_password_reset(pool, &to)).unwrap();
    let new = password("another horse");
    check!(
        counted,
        accounts::complete_password_reset(pool, &issued.token, new)
    );
    owner
}

/// All that there is of webhooks.
async fn told(counted: &mut Counted, pool: &PgPool, owner: Uuid) {
    let keys = Keys::new(&["q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T".into()]);
    let url = Target::parse("https://example.com/", Targets::Public).unwrap();
    let new = NewEndpoint {
        url: &url,
        description: "",
        event_types: &[],
    };
    let (endpoint, _) = check!(counted, webhooks::create_endpoint(pool, &keys, owner, new));
    let endpoint = endpoint.id;
    check!(counted, webhooks::find_endpoint(pool, owner, endpoint));
    check!(counted, webhooks::list_endpoints(pool, owner, None, 21));
    check!(
        counted,
        webhooks::list_endpoints(pool, owner, Some(endpoint), 21)
    );
    check!(
        counted,
        webhooks::change_endpoint(pool, owner, endpoint, None, Change::default())
    );
    check!(
        counted,
        webhooks::rotate_secret(pool, &keys, owner, endpoint, None)
    );

    let kind = EventType::parse("invoice.paid").unwrap();
    let data = RawValue::from_string("{}".to_owned()).unwrap();
    let event = || NewEvent {
        kind: &kind,
        data: &data,
    };
    let key = IdempotencyKey::parse("a").unwrap();
    let accepted = check!(
        counted,
        webhooks::accept_event(pool, owner, &key, [0; 32], event())
    );
    check!(
        counted,
        webhooks::accept_event(pool, owner, &key, [0; 32], event())
    );
    check!(counted, webhooks::find_event(pool, owner, accepted.id));
    let before = Some(Uuid::max());
    for kind in [None, Some(&kind)] {
        check!(counted, webhooks::list_events(pool, owner, kind, None, 21));
        check!(
            counted,
            webhooks::list_events(pool, owner, kind, before, 21)
        );
    }
    for state in DeliveryState::ALL.map(Some).into_iter().chain([None]) {
        for event in [None, Some(accepted.id)] {
            check!(
                counted,
                webhooks::list_deliveries(pool, endpoint, state, event, None, 21)
            );
            check!(
                counted,
                webhooks::list_deliveries(pool, endpoint, state, event, before, 21)
            );
        }
    }
    let sent = check!(counted, webhooks::send_test_event(pool, owner, endpoint));
    check!(
        counted,
        webhooks::find_delivery(pool, owner, endpoint, sent.1)
    );
    for state in ["delivered", "failed"] {
        sqlx::query("UPDATE webhook_deliveries SET state = $1 WHERE id = $2")
            .bind(state)
            .bind(sent.1)
            .execute(pool)
            .await
            .unwrap();
        counted.check("the update").await;
        if state == "delivered" {
            check!(counted, webhooks::replay(pool, owner, endpoint, sent.1));
        } else {
            let since = OffsetDateTime::now_utc() - Duration::hours(1);
            check!(
                counted,
                webhooks::replay_failed(pool, owner, endpoint, since)
            );
        }
    }
    attempted(counted, pool, endpoint, sent.1).await;
    check!(
        counted,
        webhooks::delete_endpoint(pool, owner, endpoint, None)
    );
    let job = JobId::new();
    check!(counted, outbox::is_pending(pool, job));
    let mut conn = pool.acquire().await.unwrap();
    outbox::once(&mut conn, job).await.unwrap();
    outbox::mark_done(&mut conn, job).await.unwrap();
    drop(conn);
    counted.check("outbox::once, mark_done").await;
}

/// What the worker does with a delivery to this endpoint.
async fn attempted(counted: &mut Counted, pool: &PgPool, endpoint: Uuid, id: Uuid) {
    let job = DeliverWebhook::new(id);
    let waiting = async || {
        sqlx::query("UPDATE webhook_deliveries SET state = 'pending' WHERE id = $1")
            .bind(id)
            .execute(pool)
            .await
            .unwrap();
        let mut conn = pool.acquire().await.unwrap();
        outbox::enqueue(&mut conn, &job).await.unwrap()
    };
    for status in [500, 200, 410] {
        let outcome = Outcome {
            called: "https://example.com/".to_owned(),
            duration: std::time::Duration::ZERO,
            response: Some(Response {
                status,
                body: String::new(),
                retry_after: None,
            }),
            error: None,
            by_us: false,
        };
        let job_id = waiting().await;
        check!(counted, webhooks::due(pool, id));
        let noted = check!(counted, webhooks::note(pool, job_id, &job, &outcome));
        assert_ne!(noted, Noted::Nothing);
    }
    assert!(check!(counted, webhooks::disabled(pool, endpoint)).is_some());
    let job_id = waiting().await;
    check!(counted, webhooks::give_up(pool, job_id, id, "given up"));
}

/// All that is purged.
async fn purged(counted: &mut Counted, pool: &PgPool) {
    check!(counted, accounts::purge_sign_ups(pool, 10));
    check!(counted, accounts::purge_verification_tokens(pool, 10));
    check!(counted, accounts::purge_password_reset_tokens(pool, 10));
    check!(counted, accounts::purge_email_changes(pool, 10));
    check!(counted, sessions::purge_ended(pool, 10));
    check!(counted, sessions::purge_refresh_tokens(pool, 10));
    check!(counted, sessions::purge_cookies(pool, 10));
    check!(counted, webhooks::purge_idempotency_keys(pool, 10));
    check!(counted, webhooks::fail_lost_deliveries(pool, 10));
    check!(counted, webhooks::purge_events(pool, 10));
    check!(counted, audit::purge(pool, 10));
}
