use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header},
};
use domain::webhooks::{self, CreateError, EventFilter, Target, Targets};
use utoipa::ToSchema;

use super::{WebhookWithSecret, check_target, parse_description};
use crate::{
    App,
    body::Body,
    caller::LiveCaller,
    etag::ETag,
    fields::{Fields, FromFields, text, texts},
    problem::Problem,
    schema,
};

#[derive(ToSchema)]
pub(super) struct NewWebhook {
    /// Public, and by HTTPS, unless the service is one for development.
    #[schema(schema_with = schema::webhook_url)]
    url: Target,
    #[schema(value_type = String, required = false, max_length = 256, pattern = "^[^\\u0000]*$",
             example = "Bills")]
    description: Option<String>,
    #[schema(required = false, schema_with = schema::event_filters)]
    event_types: Option<Vec<EventFilter>>,
}

impl FromFields for NewWebhook {
    fn read(fields: &mut Fields) -> Option<Self> {
        let url = fields.required("url", text(|text| Target::parse(text, Targets::Any)));
        let description = fields.absent_or("description", text(parse_description));
        let event_types = fields.absent_or("event_types", texts(64, EventFilter::parse));
        Some(Self {
            url: url?,
            description: description?,
            event_types: event_types?,
        })
    }
}

/// Create an endpoint
///
/// It is told of every event from now on that passes its filters. The secret that this is signed
/// with is in this answer and no other.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", request_body = NewWebhook,
    security(("access_token" = [])),
    responses(
        (status = 201, description = "The endpoint.", body = WebhookWithSecret),
        (status = 409, description = "The account has 50 endpoints, as many as it may have."),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Body(sent): Body<NewWebhook>,
) -> Result<
    (
        StatusCode,
        ETag,
        [(HeaderName, String); 1],
        Json<WebhookWithSecret>,
    ),
    Problem,
> {
    check_target(&app, &sent.url)?;
    let new = webhooks::NewEndpoint {
        url: &sent.url,
        description: &sent.description.unwrap_or_default(),
        event_types: &sent.event_types.unwrap_or_default(),
    };
    let made =
        webhooks::create_endpoint(&app.pool, &app.webhook_keys, caller.account_id, new).await;
    let made = made.map_err(|error| match error {
        CreateError::TooMany => Problem::too_many_webhooks(),
        CreateError::NoAccount => Problem::unauthorized(),
        CreateError::Internal(error) => error.into(),
    })?;
    let location = [(header::LOCATION, format!("/v1/webhooks/{}", made.0.id))];
    let tag = ETag(made.0.version);
    let answer = Json(WebhookWithSecret::new(made));
    Ok((StatusCode::CREATED, tag, location, answer))
}
