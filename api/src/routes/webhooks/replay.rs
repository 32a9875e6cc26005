use axum::{Json, extract::State, http::StatusCode};
use domain::webhooks;
use serde::Serialize;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    App,
    body::Body,
    caller::LiveCaller,
    fields::{Fields, FromFields, text},
    path::Path,
    problem::Problem,
};

#[derive(ToSchema)]
pub(super) struct ReplaySince {
    /// Of the events accepted from this time on.
    since: OffsetDateTime,
}

impl FromFields for ReplaySince {
    fn read(fields: &mut Fields) -> Option<Self> {
        let since = fields.required("since", text(parse_time));
        Some(Self { since: since? })
    }
}

/// A time that is one in UTC too, as the database has it: by its offset it may leave the last year.
fn parse_time(text: &str) -> Result<OffsetDateTime, &'static str> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    time.and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        .ok_or("must be a time like 2026-11-30T12:00:00Z")
}

#[derive(Serialize, ToSchema)]
pub(super) struct Replayed {
    /// How many deliveries are pending again.
    #[schema(maximum = 10_000, example = 12)]
    deliveries: u64,
    /// There are more: repeat the request.
    #[schema(example = false)]
    more: bool,
}

/// Deliver once more whatever has failed
///
/// Oldest first, up to 10,000 at a time. What is pending is not doubled, so it is safe to repeat.
#[utoipa::path(post, path = "/v1/webhooks/{id}/replay", tag = "webhooks",
    request_body = ReplaySince,
    params(("id" = Uuid, Path, description = "The endpoint.")),
    security(("access_token" = [])),
    responses(
        (status = 202, description = "They are on their way.", body = Replayed),
        (status = 409, description = "The endpoint is disabled."),
    ),
)]
pub(super) async fn replay(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Path(id): Path<Uuid>,
    Body(ReplaySince { since }): Body<ReplaySince>,
) -> Result<(StatusCode, Json<Replayed>), Problem> {
    let replayed = webhooks::replay_failed(&app.pool, caller.account_id, id, since).await?;
    let answer = Replayed {
        deliveries: replayed.deliveries,
        more: replayed.more,
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}
