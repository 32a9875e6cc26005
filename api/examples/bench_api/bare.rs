//! The same SQL, and axum around it, and nothing else.

use axum::{Json, Router, extract::State, routing::get};
use domain::accounts;
use serde_json::{Value, json};
use sqlx::PgPool;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// For whom it answers: it looks at no token.
#[derive(Clone)]
pub(crate) struct Bare {
    pub(crate) pool: PgPool,
    pub(crate) account: Uuid,
}

pub(crate) fn router(bare: Bare) -> Router {
    Router::new().route("/v1/me", get(me)).with_state(bare)
}

async fn me(State(bare): State<Bare>) -> Json<Value> {
    let account = accounts::find(&bare.pool, bare.account).await;
    let account = account.unwrap().unwrap();
    Json(json!({
        "id": account.id,
        "email": account.email,
        "created_at": account.created_at.format(&Rfc3339).unwrap(),
        "verified": account.verified_at.is_some(),
    }))
}
