//! The same SQL, and axum around it, and nothing else.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use domain::{accounts, webhooks};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// For whom it answers: it looks at no token.
#[derive(Clone)]
pub(crate) struct Bare {
    pub(crate) pool: PgPool,
    pub(crate) account: Uuid,
    /// The endpoints that are told of an event.
    told: Arc<[Uuid]>,
}

impl Bare {
    pub(crate) async fn new(pool: PgPool, account: Uuid) -> Self {
        let told = "SELECT id FROM webhook_endpoints WHERE account_id = $1 AND event_types = '{}'";
        let told: Vec<Uuid> = sqlx::query_scalar(told)
            .bind(account)
            .fetch_all(&pool)
            .await
            .unwrap();
        Self {
            pool,
            account,
            told: told.into(),
        }
    }
}

pub(crate) fn router(bare: Bare) -> Router {
    Router::new()
        .route("/v1/me", get(me))
        .route("/v1/webhooks", get(list))
        .route("/v1/events", post(insert))
        .with_state(bare)
}

#[derive(Serialize)]
struct Account {
    id: Uuid,
    email: String,
    created_at: String,
    verified: bool,
}

async fn me(State(bare): State<Bare>) -> Json<Account> {
    let account = accounts::find(&bare.pool, bare.account).await;
    let account = account.unwrap().unwrap();
    Json(Account {
        id: account.id,
        email: account.email,
        created_at: text(account.created_at),
        verified: account.verified_at.is_some(),
    })
}

#[derive(Serialize)]
struct Page {
    data: Vec<Endpoint>,
    next_cursor: Uuid,
}

#[derive(Serialize)]
struct Endpoint {
    id: Uuid,
    url: String,
    description: String,
    event_types: Vec<String>,
    enabled: bool,
    created_at: String,
    updated_at: String,
}

/// As many rows as the real one asks for, which sees by the last whether there are more.
async fn list(State(bare): State<Bare>) -> Json<Page> {
    let endpoints = webhooks::list_endpoints(&bare.pool, bare.account, None, 21).await;
    let data = endpoints.unwrap().into_iter().take(20).map(|row| Endpoint {
        id: row.id,
        url: row.url,
        description: row.description,
        event_types: row.event_types,
        enabled: row.disabled_at.is_none(),
        created_at: text(row.created_at),
        updated_at: text(row.updated_at),
    });
    let data: Vec<_> = data.collect();
    let next_cursor = data[19].id;
    Json(Page { data, next_cursor })
}

fn text(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap()
}

/// The rows of an event, its key, its two deliveries and their jobs, in a transaction as one writes
/// it, and nothing that is asked. All of them in one statement, which needs neither BEGIN nor COMMIT,
/// are half as fast again; the real one takes that way, after it has asked whom to tell.
async fn insert(State(bare): State<Bare>, body: Bytes) -> (StatusCode, Json<Value>) {
    let mut tx = bare.pool.begin().await.unwrap();
    let [event, first, second, job, other] = [(); 5].map(|()| Uuid::now_v7());
    sqlx::query(
        "WITH request AS (
           INSERT INTO idempotency_keys (account_id, key, request_hash, event_id, deliveries)
           VALUES ($1, $2, $3, $4, 2)
         ), event AS (
           INSERT INTO events (id, account_id, type, data)
           VALUES ($4, $1, 'invoice.paid', $5::text::json)
         )
         INSERT INTO webhook_deliveries (id, event_id, endpoint_id)
         SELECT made.id, $4, endpoint_id
         FROM unnest($6::uuid[], $7::uuid[]) AS made (id, endpoint_id)",
    )
    .bind(bare.account)
    .bind(event.to_string())
    .bind([7_u8; 32])
    .bind(event)
    .bind(std::str::from_utf8(&body).unwrap())
    .bind([first, second])
    .bind(&*bare.told)
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO job_outbox (id, queue, envelope, once)
         SELECT id, 'webhooks', $2, true FROM unnest($1::uuid[]) AS id",
    )
    .bind([job, other])
    // As long as the real ones are.
    .bind([7_u8; 72])
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let answer = json!({ "id": event, "type": "invoice.paid", "deliveries": 2 });
    (StatusCode::ACCEPTED, Json(answer))
}
