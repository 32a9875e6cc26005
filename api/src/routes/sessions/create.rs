use axum::{Json, extract::State, http::HeaderMap};
use domain::{
    accounts::{Email, Password},
    sessions::{self, LogInError},
};

use super::{Tokens, user_agent};
use crate::{App, body::Fields, client::Client, problem::Problem};

/// `POST /v1/sessions`: log in.
pub(in crate::routes) async fn create(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Json<Tokens>, Problem> {
    let email = fields.text("email", Email::parse);
    let password = fields.text("password", |text| Password::parse(text));
    let (email, password) = fields.finish(email.zip(password))?;
    app.limits.log_in(&client, &email).await?;
    match sessions::log_in(&app.pool, &email, password, &user_agent(&headers)).await {
        Ok(issued) => Tokens::answer(&app, &issued),
        Err(LogInError::InvalidCredentials) => Err(Problem::wrong_credentials()),
        Err(LogInError::Internal(error)) => Err(error.into()),
    }
}
