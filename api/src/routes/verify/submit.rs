use axum::{
    Form,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    Token,
    accounts::{self, VerifyError},
};
use serde::Deserialize;

use super::Page;
use crate::{App, client::Client, problem::Problem};

#[derive(Deserialize)]
pub(super) struct Click {
    token: String,
}

/// `POST /verify`: proves the address with the token of the page.
pub(super) async fn submit(
    State(app): State<App>,
    client: Client,
    Form(click): Form<Click>,
) -> Result<Response, Problem> {
    app.limits.token(&client).await?;
    let text = match Token::parse(&click.token) {
        Err(_) => "The link is incomplete. Copy all of it from the mail.",
        Ok(token) => match accounts::verify(&app.pool, &token).await {
            Ok(_) => return Ok(Page::confirmed().into_response()),
            Err(VerifyError::Used) => "It was used before. Try to log in.",
            Err(VerifyError::Expired) => "It is too old. Sign up again, and a new one is sent.",
            Err(VerifyError::Unknown) => {
                "It is not known, or the address was confirmed by the link of another mail. \
                 Try to log in."
            }
            Err(VerifyError::Internal(error)) => return Err(error.into()),
        },
    };
    Ok(Page::refused(text).into_response())
}
