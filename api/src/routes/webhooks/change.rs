use axum::{Json, extract::State};
use domain::webhooks::{self, Change, EventFilter, Target, Targets};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Webhook, check_target, parse_description};
use crate::{
    App,
    body::Body,
    caller::LiveCaller,
    etag::{ETag, IfMatch},
    fields::{Fields, FromFields, boolean, text, texts},
    path::Path,
    problem::Problem,
    schema,
};

/// What is to be changed; what is absent stays.
#[derive(ToSchema)]
pub(super) struct WebhookChange {
    #[schema(required = false, schema_with = schema::webhook_url)]
    url: Option<Target>,
    #[schema(value_type = String, required = false, max_length = 256, pattern = "^[^\\u0000]*$",
             example = "Bills")]
    description: Option<String>,
    #[schema(required = false, schema_with = schema::event_filters)]
    event_types: Option<Vec<EventFilter>>,
    /// False disables it; true enables it again, also after the service has disabled it.
    #[schema(value_type = bool, required = false)]
    enabled: Option<bool>,
}

impl FromFields for WebhookChange {
    fn read(fields: &mut Fields) -> Option<Self> {
        let url = fields.absent_or("url", text(|text| Target::parse(text, Targets::Any)));
        let description = fields.absent_or("description", text(parse_description));
        let event_types = fields.absent_or("event_types", texts(64, EventFilter::parse));
        let enabled = fields.absent_or("enabled", boolean);
        Some(Self {
            url: url?,
            description: description?,
            event_types: event_types?,
            enabled: enabled?,
        })
    }
}

/// Change an endpoint
///
/// One that is enabled again, or moved, begins anew: it is not failing until it fails. Events that
/// came while it was disabled are not delivered later.
#[utoipa::path(patch, path = "/v1/webhooks/{id}", tag = "webhooks", request_body = WebhookChange,
    params(("id" = Uuid, Path, description = "The endpoint."), IfMatch),
    security(("access_token" = [])),
    responses((status = 200, description = "As it is now.", body = Webhook)),
)]
pub(super) async fn change(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Path(id): Path<Uuid>,
    IfMatch(versions): IfMatch,
    Body(sent): Body<WebhookChange>,
) -> Result<(ETag, Json<Webhook>), Problem> {
    if let Some(url) = &sent.url {
        check_target(&app, url)?;
    }
    let change = Change {
        url: sent.url.as_ref(),
        description: sent.description.as_deref(),
        event_types: sent.event_types.as_deref(),
        enabled: sent.enabled,
    };
    let versions = versions.as_deref();
    let changed =
        webhooks::change_endpoint(&app.pool, caller.account_id, id, versions, change).await?;
    Ok((ETag(changed.version), Json(changed.into())))
}
