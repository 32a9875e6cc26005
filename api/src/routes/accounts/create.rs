use axum::{Json, extract::State, http::StatusCode};
use domain::accounts::{self, Email, Password};
use serde::Serialize;

use crate::{App, body::Fields, client::Client, problem::Problem};

/// The same for every address.
#[derive(Serialize)]
pub(in crate::routes) struct Accepted {
    message: &'static str,
}

/// `POST /v1/accounts`: sign up.
///
/// Whether the address has an account already is only said in the mail to it.
pub(in crate::routes) async fn create(
    State(app): State<App>,
    client: Client,
    mut fields: Fields,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let email = fields.text("email", Email::parse);
    let password = fields.text("password", |text| Password::parse(text));
    let (email, password) = fields.finish(email.zip(password))?;
    app.limits.sign_up(&client, &email).await?;
    accounts::sign_up(&app.pool, &email, password).await?;
    let message = "A mail with the next step is on its way to this address.";
    Ok((StatusCode::ACCEPTED, Json(Accepted { message })))
}
