mod change;
mod create;
mod delete;
mod deliveries;
mod list;
mod problems;
mod replay;
mod rotate_secret;
mod show;
mod test;

use domain::webhooks::{self, ChangeError, ResendError, Secret, Target};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    App,
    problem::{FieldError, Place, Problem},
    schema,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(show::show, change::change, delete::delete))
        .routes(routes!(rotate_secret::rotate_secret))
        .routes(routes!(test::test))
        .routes(routes!(replay::replay))
        .merge(deliveries::router())
}

/// A URL that is told of the account's events.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhook {
    id: Uuid,
    /// In the form in which it is used.
    #[schema(example = "https://example.com/hooks")]
    url: String,
    #[schema(example = "Bills")]
    description: String,
    #[schema(schema_with = schema::event_filters)]
    event_types: Vec<String>,
    enabled: bool,
    /// Since when it is told of nothing.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required, example = json!(null))]
    disabled_at: Option<OffsetDateTime>,
    #[schema(required, schema_with = schema::disabled_reason)]
    disabled_reason: Option<String>,
    /// Since when every attempt has failed.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required, example = json!(null))]
    failing_since: Option<OffsetDateTime>,
    /// Until when the secret before the last rotation signs as well.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required, example = json!(null))]
    old_secret_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

impl From<webhooks::Endpoint> for Webhook {
    fn from(endpoint: webhooks::Endpoint) -> Self {
        Self {
            id: endpoint.id,
            url: endpoint.url,
            description: endpoint.description,
            event_types: endpoint.event_types,
            enabled: endpoint.disabled_at.is_none(),
            disabled_at: endpoint.disabled_at,
            disabled_reason: endpoint.disabled_reason,
            failing_since: endpoint.failing_since,
            old_secret_until: endpoint.old_secret_until,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

/// An endpoint with its new secret, which no other answer shows.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookWithSecret {
    #[serde(flatten)]
    endpoint: Webhook,
    /// What deliveries are signed with, as Standard Webhooks has it.
    #[schema(
        pattern = "^whsec_[A-Za-z0-9+/]{43}=$",
        example = "whsec_QW4gZXhhbXBsZSwgYW5kIG5vdGhpbmcgYnV0IHRoYXQ="
    )]
    secret: String,
}

impl WebhookWithSecret {
    fn new((endpoint, secret): (webhooks::Endpoint, Secret)) -> Self {
        Self {
            endpoint: endpoint.into(),
            secret: secret.expose(),
        }
    }
}

/// Checks that this service sends events there: what a URL may be depends on a setting, which the
/// parser of its field does not know.
fn check_target(app: &App, url: &Target) -> Result<(), Problem> {
    let checked = Target::parse(url.as_str(), app.webhook_targets);
    checked.map(drop).map_err(|error| {
        Problem::invalid_fields(vec![FieldError {
            place: Place::Pointer("/url".to_owned()),
            detail: error.to_string(),
        }])
    })
}

/// A description that the database can hold.
fn parse_description(text: &str) -> Result<String, &'static str> {
    if text.chars().count() > 256 {
        return Err("must be at most 256 characters long");
    }
    Ok(text.to_owned())
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Self::not_found(),
            ChangeError::VersionMismatch => Self::precondition_failed(),
            ChangeError::Internal(error) => error.into(),
        }
    }
}

impl From<ResendError> for Problem {
    fn from(error: ResendError) -> Self {
        match error {
            ResendError::NotFound => Self::not_found(),
            ResendError::Disabled => Self::webhook_disabled(),
            ResendError::Internal(error) => error.into(),
        }
    }
}
