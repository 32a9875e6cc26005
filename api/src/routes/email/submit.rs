use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    Token,
    accounts::{self, EmailChangeError},
};

use crate::{
    App,
    client::Client,
    form::Form,
    problem::Problem,
    routes::link_page::{Click, LinkPage},
};

/// `POST /email`: makes the address of the mail the account's.
pub(super) async fn submit(
    State(app): State<App>,
    client: Client,
    Form(click): Form<Click>,
) -> Result<Response, Problem> {
    app.limits.token(&client).await?;
    let Ok(token) = Token::parse(&click.token) else {
        return Ok(LinkPage::incomplete().into_response());
    };
    let text = match accounts::complete_email_change(&app.pool, &token).await {
        Ok(_) => {
            let text = "You can close this page. From now on, log in with this address.";
            return Ok(LinkPage::done("Your address is changed", text).into_response());
        }
        Err(EmailChangeError::Used) => "It was used before: your account has this address.",
        Err(EmailChangeError::Expired) => "It is too old. Ask for the change again.",
        Err(EmailChangeError::Unknown) => {
            "It is not known, or the change was given up. Ask for it again."
        }
        Err(EmailChangeError::Taken) => "Another account has this address now.",
        Err(EmailChangeError::Internal(error)) => return Err(error.into()),
    };
    Ok(LinkPage::refused(text).into_response())
}
