use axum::{Json, extract::State};
use domain::accounts::{self, Email};
use utoipa::IntoParams;

use super::Account;
use crate::{
    App,
    caller::Admin,
    fields::{Fields, FromFields, text},
    page::{Listed, Page},
    problem::Problem,
    query::Query,
    schema,
};

/// Which accounts are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// The one with this address alone.
    #[param(schema_with = schema::email, required = false)]
    email: Option<Email>,
    #[param(ignore)]
    page: Page,
}

impl FromFields for Filter {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.optional("email", text(Email::parse));
        let page = Page::read(fields);
        Some(Self {
            email: email?,
            page: page?,
        })
    }
}

/// All accounts, for admins
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", params(Filter, Page),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "A page of accounts.", body = Listed<Account>),
        (status = 403),
    ),
)]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(Filter { email, page }): Query<Filter>,
) -> Result<Json<Listed<Account>>, Problem> {
    let rows = match &email {
        None => accounts::list(&app.pool, page.before(), page.rows()).await?,
        Some(email) => {
            let found = accounts::find_by_email(&app.pool, email).await?;
            let on_page = |id| page.before().is_none_or(|before| id < before);
            found.into_iter().filter(|row| on_page(row.id)).collect()
        }
    };
    Ok(Json(page.list(rows, |row| row.id)))
}
