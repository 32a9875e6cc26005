use axum::{Json, extract::State};
use domain::webhooks;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Delivery;
use crate::{App, caller::Caller, path::Path, problem::Problem};

/// A delivery with the answer to its last attempt.
#[derive(Serialize, ToSchema)]
pub(super) struct DeliveryWithAnswer {
    #[serde(flatten)]
    delivery: Delivery,
    /// The beginning of the answer's body, as text.
    #[schema(required, example = "Try again later.")]
    response_body: Option<String>,
}

/// A delivery
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries/{delivery_id}", tag = "deliveries",
    params(
        ("id" = Uuid, Path, description = "The endpoint."),
        ("delivery_id" = Uuid, Path, description = "The delivery."),
    ),
    security(("access_token" = [])),
    responses((status = 200, description = "The delivery.", body = DeliveryWithAnswer)),
)]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path((id, delivery_id)): Path<(Uuid, Uuid)>,
) -> Result<Json<DeliveryWithAnswer>, Problem> {
    let found = webhooks::find_delivery(&app.pool, caller.account_id, id, delivery_id).await?;
    let found = found.ok_or_else(Problem::not_found)?;
    Ok(Json(DeliveryWithAnswer {
        delivery: found.delivery.into(),
        response_body: found.response_body,
    }))
}
