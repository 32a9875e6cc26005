mod list;
mod replay;
mod show;

use domain::webhooks;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{App, schema};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(show::show))
        .routes(routes!(replay::replay))
}

/// That an endpoint is told of an event, and what came of the last attempt.
#[derive(Serialize, ToSchema)]
struct Delivery {
    id: Uuid,
    event_id: Uuid,
    #[schema(schema_with = schema::delivery_state)]
    state: &'static str,
    /// How often it was tried.
    #[schema(minimum = 0, example = 3)]
    attempts: i32,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    attempted_at: Option<OffsetDateTime>,
    /// How long the last attempt took, in milliseconds.
    #[schema(required, example = 87)]
    duration_ms: Option<i32>,
    /// The status of the last answer; null where there was none.
    #[schema(required, example = 503)]
    response_status: Option<i16>,
    /// Why the last attempt failed.
    #[schema(required, example = "it answered 503")]
    error: Option<String>,
    /// About when the next attempt is made, while it is pending.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    next_attempt_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<webhooks::Delivery> for Delivery {
    fn from(delivery: webhooks::Delivery) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event_id,
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            attempted_at: delivery.attempted_at,
            duration_ms: delivery.duration_ms,
            response_status: delivery.response_status,
            error: delivery.error,
            next_attempt_at: delivery.next_attempt_at,
            created_at: delivery.created_at,
        }
    }
}
