use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    Token,
    accounts::{self, VerifyError},
};

use crate::{
    App,
    client::Client,
    form::Form,
    problem::Problem,
    routes::link_page::{Click, LinkPage},
};

/// `POST /verify`: proves the address with the token of the page.
pub(super) async fn submit(
    State(app): State<App>,
    client: Client,
    Form(click): Form<Click>,
) -> Result<Response, Problem> {
    app.limits.token(&client).await?;
    let Ok(token) = Token::parse(&click.token) else {
        return Ok(LinkPage::incomplete().into_response());
    };
    let text = match accounts::verify(&app.pool, &token).await {
        Ok(_) => {
            let text = "You can close this page and log in.";
            return Ok(LinkPage::done("Your address is confirmed", text).into_response());
        }
        Err(VerifyError::Used) => "It was used before. Try to log in.",
        Err(VerifyError::Expired) => "It is too old. Ask for another mail, or sign up again.",
        Err(VerifyError::Unknown) => {
            "It is not known, or the address was confirmed by the link of another mail. \
             Try to log in."
        }
        Err(VerifyError::Internal(error)) => return Err(error.into()),
    };
    Ok(LinkPage::refused(text).into_response())
}
