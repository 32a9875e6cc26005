use axum::{Json, extract::State, http::HeaderMap};
use domain::{
    accounts::{Email, Password},
    sessions::{self, LogInError},
};
use utoipa::ToSchema;

use super::{Tokens, user_agent};
use crate::{
    App,
    body::Body,
    client::Client,
    fields::{Fields, FromFields, text},
    problem::Problem,
    schema,
};

#[derive(ToSchema)]
pub(super) struct LogIn {
    #[schema(schema_with = schema::email)]
    email: Email,
    #[schema(schema_with = schema::password)]
    password: Password,
}

impl FromFields for LogIn {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", text(Email::parse));
        let password = fields.required("password", text(|text| Password::parse(text)));
        Some(Self {
            email: email?,
            password: password?,
        })
    }
}

/// Log in
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = LogIn, responses(
    (status = 200, description = "Logged in.", body = Tokens),
    (status = 401, description = "No account has this address, proven, and this password."),
    (status = 429),
))]
pub(super) async fn create(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    Body(LogIn { email, password }): Body<LogIn>,
) -> Result<Json<Tokens>, Problem> {
    app.limits.log_in(&client, &email).await?;
    match sessions::log_in(&app.pool, &email, password, &user_agent(&headers)).await {
        Ok(issued) => Tokens::answer(&app, &issued),
        Err(LogInError::InvalidCredentials) => Err(Problem::wrong_credentials()),
        Err(LogInError::Internal(error)) => Err(error.into()),
    }
}
