use axum::{Json, extract::State};
use domain::webhooks;
use uuid::Uuid;

use super::WebhookWithSecret;
use crate::{
    App,
    caller::LiveCaller,
    etag::{ETag, IfMatch},
    path::Path,
    problem::Problem,
};

/// Give an endpoint a new secret
///
/// It is in this answer and no other. For 24 hours the one before it signs as well: time to teach
/// the receiver the new one. One from before that ends now, so who has lost this answer and repeats
/// the request should name the version that it means, by `If-Match`.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate-secret", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The endpoint."), IfMatch),
    security(("access_token" = [])),
    responses((status = 200, description = "With its new secret.", body = WebhookWithSecret)),
)]
pub(super) async fn rotate_secret(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Path(id): Path<Uuid>,
    IfMatch(versions): IfMatch,
) -> Result<(ETag, Json<WebhookWithSecret>), Problem> {
    let (pool, keys, account_id) = (&app.pool, &app.webhook_keys, caller.account_id);
    let rotated = webhooks::rotate_secret(pool, keys, account_id, id, versions.as_deref()).await?;
    Ok((
        ETag(rotated.0.version),
        Json(WebhookWithSecret::new(rotated)),
    ))
}
