use axum::{Json, extract::State, http::StatusCode};
use domain::accounts::{self, Email};
use utoipa::ToSchema;

use crate::{
    App,
    body::Body,
    client::Client,
    fields::{Fields, FromFields, text},
    problem::Problem,
    routes::accepted::{Accepted, accepted},
    schema,
};

#[derive(ToSchema)]
pub(super) struct Forgotten {
    #[schema(schema_with = schema::email)]
    email: Email,
}

impl FromFields for Forgotten {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", text(Email::parse));
        Some(Self { email: email? })
    }
}

/// Ask for a mail that resets the password
#[utoipa::path(post, path = "/v1/password-resets", tag = "password resets",
    request_body = Forgotten,
    responses(
        (status = 202, description = "What there is to say is on its way.", body = Accepted),
        (status = 429),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    client: Client,
    Body(Forgotten { email }): Body<Forgotten>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    app.limits.mail(&client, "reset", &email).await?;
    accounts::request_password_reset(&app.pool, &email).await?;
    let message = "If this address has an account, a mail with the next step is on its way.";
    Ok(accepted(message))
}
