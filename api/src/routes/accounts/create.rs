use axum::{Json, extract::State, http::StatusCode};
use domain::accounts::{self, Email, Password};
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
pub(super) struct SignUp {
    #[schema(schema_with = schema::email)]
    email: Email,
    #[schema(schema_with = schema::password)]
    password: Password,
}

impl FromFields for SignUp {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", text(Email::parse));
        let password = fields.required("password", text(|text| Password::parse(text)));
        Some(Self {
            email: email?,
            password: password?,
        })
    }
}

/// Sign up
///
/// Whether the address has an account already is only said in the mail to it.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", request_body = SignUp, responses(
    (status = 202, description = "A mail is on its way.", body = Accepted),
    (status = 429),
))]
pub(super) async fn create(
    State(app): State<App>,
    client: Client,
    Body(SignUp { email, password }): Body<SignUp>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    app.limits.sign_up(&client, &email).await?;
    accounts::sign_up(&app.pool, &email, password).await?;
    let message = "A mail with the next step is on its way to this address.";
    Ok(accepted(message))
}
