use axum::{Json, extract::State};
use domain::webhooks::{self, DeliveryState};
use utoipa::IntoParams;
use uuid::Uuid;

use super::Delivery;
use crate::{
    App,
    caller::Caller,
    fields::{Fields, FromFields, text},
    page::{Listed, Page},
    path::Path,
    problem::Problem,
    query::Query,
    schema,
};

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filters {
    #[param(required = false, schema_with = schema::delivery_state)]
    state: Option<DeliveryState>,
    /// Of this event alone.
    #[param(nullable = false)]
    event_id: Option<Uuid>,
    #[param(ignore)]
    page: Page,
}

impl FromFields for Filters {
    fn read(fields: &mut Fields) -> Option<Self> {
        let state = fields.optional("state", text(parse_state));
        let event_id = fields.optional(
            "event_id",
            text(|text| Uuid::try_parse(text).map_err(|_| "must be the id of an event")),
        );
        let page = Page::read(fields);
        Some(Self {
            state: state?,
            event_id: event_id?,
            page: page?,
        })
    }
}

fn parse_state(text: &str) -> Result<DeliveryState, &'static str> {
    let mut states = DeliveryState::ALL.into_iter();
    let state = states.find(|state| state.as_str() == text);
    state.ok_or("must be pending, delivered or failed")
}

/// Deliveries to an endpoint
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "deliveries",
    params(("id" = Uuid, Path, description = "The endpoint."), Filters, Page),
    security(("access_token" = [])),
    responses((status = 200, description = "A page of them.", body = Listed<Delivery>)),
)]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(filters): Query<Filters>,
) -> Result<Json<Listed<Delivery>>, Problem> {
    let Filters {
        state,
        event_id,
        page,
    } = filters;
    let found = webhooks::find_endpoint(&app.pool, caller.account_id, id).await?;
    found.ok_or_else(Problem::not_found)?;
    let (before, rows) = (page.before(), page.rows());
    let rows = webhooks::list_deliveries(&app.pool, id, state, event_id, before, rows).await?;
    Ok(Json(page.list(rows, |row| row.id)))
}
