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
pub(super) struct Resend {
    #[schema(schema_with = schema::email)]
    email: Email,
}

impl FromFields for Resend {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", text(Email::parse));
        Some(Self { email: email? })
    }
}

/// Send the mails of the sign-ups with this address again
///
/// Each of them brings the password of its own sign-up, as the first one did. A verified account
/// is told so by mail; an address that never signed up gets none.
#[utoipa::path(post, path = "/v1/accounts/verify/resend", tag = "accounts", request_body = Resend,
    responses(
        (status = 202, description = "What there is to say is on its way.", body = Accepted),
        (status = 429),
    ),
)]
pub(super) async fn resend(
    State(app): State<App>,
    client: Client,
    Body(Resend { email }): Body<Resend>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    app.limits.mail(&client, "resend", &email).await?;
    accounts::request_resend(&app.pool, &email).await?;
    let message = "If this address waits for its confirmation, the mail is on its way again.";
    Ok(accepted(message))
}
