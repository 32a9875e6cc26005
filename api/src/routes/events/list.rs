use axum::{Json, extract::State};
use domain::webhooks::{self, EventType};
use utoipa::IntoParams;

use super::Event;
use crate::{
    App,
    caller::Caller,
    fields::{Fields, FromFields, text},
    page::{Listed, Page},
    problem::Problem,
    query::Query,
    schema,
};

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filters {
    /// Of this type alone.
    #[param(required = false, schema_with = schema::event_type)]
    r#type: Option<EventType>,
    #[param(ignore)]
    page: Page,
}

impl FromFields for Filters {
    fn read(fields: &mut Fields) -> Option<Self> {
        let kind = fields.optional("type", text(EventType::parse));
        let page = Page::read(fields);
        Some(Self {
            r#type: kind?,
            page: page?,
        })
    }
}

/// The account's events
///
/// Those of the last 30 days.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(Filters, Page),
    security(("access_token" = [])),
    responses((status = 200, description = "A page of them.", body = Listed<Event>)),
)]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filters): Query<Filters>,
) -> Result<Json<Listed<Event>>, Problem> {
    let Filters { r#type: kind, page } = filters;
    let (owner, before, rows) = (caller.account_id, page.before(), page.rows());
    let rows = webhooks::list_events(&app.pool, owner, kind.as_ref(), before, rows).await?;
    Ok(Json(page.list(rows, |row| row.id)))
}
