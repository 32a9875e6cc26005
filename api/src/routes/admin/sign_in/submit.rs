use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use domain::{
    accounts::{Email, Password},
    audit::Action,
    sessions::{self, LogInError},
};
use secrecy::SecretString;
use serde::Deserialize;

use super::form;
use crate::{
    App,
    caller::Caller,
    client::Client,
    form::Form,
    problem::Problem,
    request::RequestId,
    routes::{
        admin::{cookie, layout, next, signed_in},
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
    Extension(id): Extension<RequestId>,
    Form(typed): Form<Typed>,
) -> Result<Response, Problem> {
    let next = next::checked(&typed.next);
    let refused = || Ok(form(&uri, next, Some(&typed.email)));
    let password = Password::parse(SecretString::from(typed.password));
    let (Ok(email), Ok(password)) = (Email::parse(&typed.email), password) else {
        return refused();
    };
    app.limits.log_in(&client, &email).await?;
    let answer = sessions::sign_in(&app.pool, &email, password, &user_agent(&headers)).await;
    let (opened, token) = match answer {
        Ok(opened) => opened,
        Err(LogInError::InvalidCredentials) => return refused(),
        Err(LogInError::Internal(error)) => return Err(error.into()),
    };
    let caller = Caller {
        account_id: opened.account_id,
        session_id: opened.session_id,
    };
    let action = Action {
        name: "sign_in",
        queue: None,
        target: None,
    };
    // The session is open, but nobody has its cookie yet.
    signed_in::record(&app, caller, &id.to_string(), &action).await?;
    let place = format!("{}{next}", layout::base(&uri));
    let mut response = Redirect::to(&place).into_response();
    if let Some(cookie) = cookie::set(&app, &token) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
