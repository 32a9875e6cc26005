use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    Token,
    accounts::{self, Password, ResetError},
};
use secrecy::SecretString;
use serde::Deserialize;

use super::{TITLE, form};
use crate::{App, client::Client, form::Form, problem::Problem, routes::link_page::LinkPage};

#[derive(Deserialize)]
pub(super) struct Typed {
    token: String,
    password: String,
}

/// `POST /reset`: makes what was typed the password.
pub(super) async fn submit(
    State(app): State<App>,
    client: Client,
    Form(typed): Form<Typed>,
) -> Result<Response, Problem> {
    app.limits.token(&client).await?;
    let Ok(token) = Token::parse(&typed.token) else {
        return Ok(LinkPage::incomplete().into_response());
    };
    let password = match Password::parse(SecretString::from(typed.password)) {
        Ok(password) => password,
        Err(error) => {
            let text = format!("The password {error}.");
            return Ok(LinkPage::ask_again(TITLE, &text, form(token.expose())).into_response());
        }
    };
    let text = match accounts::complete_password_reset(&app.pool, &token, password).await {
        Ok(()) => {
            let text = "You can close this page and log in with the new password.";
            return Ok(LinkPage::done("Your password is changed", text).into_response());
        }
        Err(ResetError::Used) => {
            "It was used before, or your account was changed after it was sent. Ask for another \
             mail if you still cannot log in."
        }
        Err(ResetError::Expired) => "It is too old. Ask for another mail.",
        Err(ResetError::Unknown) => "It is not known. Ask for another mail.",
        Err(ResetError::Internal(error)) => return Err(error.into()),
    };
    Ok(LinkPage::refused(text).into_response())
}
