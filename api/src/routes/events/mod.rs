mod create;
mod key;
mod list;
mod problems;
mod show;

use domain::webhooks;
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{App, schema};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(show::show))
}

/// Something that has happened.
#[derive(Serialize, ToSchema)]
struct Event {
    /// The `webhook-id` of each of its deliveries.
    id: Uuid,
    #[schema(schema_with = schema::event_type)]
    r#type: String,
    /// As it was sent, to the last digit.
    #[schema(schema_with = schema::event_data)]
    data: Box<RawValue>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<webhooks::Event> for Event {
    fn from(event: webhooks::Event) -> Self {
        Self {
            id: event.id,
            r#type: event.kind,
            data: event.data.0,
            created_at: event.created_at,
        }
    }
}
