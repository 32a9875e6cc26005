use axum::{Json, extract::State};
use domain::webhooks;
use uuid::Uuid;

use super::WebhookWithSecret;
use crate::{App, caller::Caller, path::Path, problem::Problem};

/// Give an endpoint a new secret
///
/// It is in this answer and no other. For 24 hours the one before it signs as well: time to teach
/// the receiver the new one. One from before that ends now.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate-secret", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The endpoint.")),
    security(("access_token" = [])),
    responses((status = 200, description = "With its new secret.", body = WebhookWithSecret)),
)]
pub(super) async fn rotate_secret(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<WebhookWithSecret>, Problem> {
    let rotated =
        webhooks::rotate_secret(&app.pool, &app.webhook_keys, caller.account_id, id).await?;
    Ok(Json(WebhookWithSecret::new(rotated)))
}
