use axum::{
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use domain::{
    accounts::{Email, Password},
    sessions::{self, LogInError},
};
use secrecy::SecretString;
use serde::Deserialize;

use super::form;
use crate::{
    App,
    client::Client,
    form::Form,
    problem::Problem,
    routes::{
        admin::{cookie, layout, next},
        sessions::user_agent,
    },
};

#[derive(Deserialize)]
pub(in crate::routes::admin) struct Typed {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /admin/sign-in`: opens a session for an admin.
///
/// It is counted together with the log-ins of programs, and refused alike whether there is no such
/// account, its password is another, or it is no admin's.
pub(in crate::routes::admin) async fn submit(
    State(app): State<App>,
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    Form(typed): Form<Typed>,
) -> Result<Response, Problem> {
    let next = next::checked(&typed.next);
    let refused = || Ok(form(&uri, next, Some(&typed.email)));
    let password = Password::parse(SecretString::from(typed.password));
    let (Ok(email), Ok(password)) = (Email::parse(&typed.email), password) else {
        return refused();
    };
    app.limits.log_in(&client, &email).await?;
    let signed_in = sessions::sign_in(&app.pool, &email, password, &user_agent(&headers)).await;
    let (opened, token) = match signed_in {
        Ok(signed_in) => signed_in,
        Err(LogInError::InvalidCredentials) => return refused(),
        Err(LogInError::Internal(error)) => return Err(error.into()),
    };
    tracing::info!(
        account.id = %opened.account_id,
        session.id = %opened.session_id,
        "an admin has signed in"
    );
    let place = format!("{}{next}", layout::base(&uri));
    let mut response = Redirect::to(&place).into_response();
    if let Some(cookie) = cookie::set(&app, &token) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
