//! Endpoints, events and deliveries.

mod endpoints;
mod events;
mod lists;
mod purge;
mod replay;

use domain::webhooks::{
    AcceptError, Accepted, Endpoint, EventType, IdempotencyKey, Keys, NewEndpoint, NewEvent,
    Target, Targets, accept_event, create_endpoint,
};
use migrations::testing::{TestDatabase, database};
use serde_json::value::RawValue;
use sqlx::PgPool;
use uuid::Uuid;

/// A database with an account in it.
struct Fixture {
    database: TestDatabase,
    account: Uuid,
}

impl Fixture {
    async fn new() -> Self {
        let database = database().await;
        let account = account(&database.pool, "ada@example.com").await;
        Self { database, account }
    }

    fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    async fn endpoint(&self) -> Endpoint {
        let new = NewEndpoint {
            url: &target("https://example.com/hooks"),
            description: "",
            event_types: &[],
        };
        let made = create_endpoint(self.pool(), &keys(), self.account, new).await;
        made.unwrap().0
    }

    async fn accept(&self, key: &str, kind: &str) -> Result<Accepted, AcceptError> {
        accept(self.pool(), self.account, key, kind, "{}").await
    }

    /// Runs a statement, and says how many rows it changed.
    async fn run(&self, statement: &'static str) -> u64 {
        let done = sqlx::query(statement).execute(self.pool()).await.unwrap();
        done.rows_affected()
    }

    async fn count(&self, query: &'static str) -> i64 {
        let count = sqlx::query_scalar(query).fetch_one(self.pool());
        count.await.unwrap()
    }

    /// How many events, deliveries, jobs and keys there are.
    async fn stored(&self) -> [i64; 4] {
        [
            self.count("SELECT count(*) FROM events").await,
            self.count("SELECT count(*) FROM webhook_deliveries").await,
            self.count("SELECT count(*) FROM job_outbox").await,
            self.count("SELECT count(*) FROM idempotency_keys").await,
        ]
    }
}

fn keys() -> Keys {
    Keys::new(&["q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T".into()])
}

fn target(url: &str) -> Target {
    Target::parse(url, Targets::Public).unwrap()
}

/// A verified account.
async fn account(pool: &PgPool, email: &str) -> Uuid {
    let made = sqlx::query_scalar(
        "INSERT INTO accounts (id, email, email_key, password_hash, verified_at)
         VALUES ($1, $2, $2, '$argon2id$', now()) RETURNING id",
    );
    let made = made.bind(Uuid::now_v7()).bind(email).fetch_one(pool);
    made.await.unwrap()
}

/// Sends an event; the hash of the request is made of type and data.
async fn accept(
    pool: &PgPool,
    account: Uuid,
    key: &str,
    kind: &str,
    data: &str,
) -> Result<Accepted, AcceptError> {
    let mut hash = [0; 32];
    for (at, byte) in kind.bytes().chain(data.bytes()).enumerate() {
        hash[at % 32] ^= byte.rotate_left(u32::try_from(at / 32).unwrap());
    }
    let data = RawValue::from_string(data.to_owned()).unwrap();
    let event = NewEvent {
        kind: &EventType::parse(kind).unwrap(),
        data: &data,
    };
    let key = IdempotencyKey::parse(key).unwrap();
    accept_event(pool, account, &key, hash, event).await
}
