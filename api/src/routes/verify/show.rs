use axum::{extract::Query, response::IntoResponse};
use domain::Token;
use serde::Deserialize;

use super::Page;

#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    token: String,
}

/// `GET /verify?token=`: asks for a click. It does not look the token up.
pub(super) async fn show(Query(link): Query<Link>) -> impl IntoResponse {
    match Token::parse(&link.token) {
        Ok(token) => Page::confirm(token.expose()).into_response(),
        Err(_) => {
            Page::refused("The link is incomplete. Copy all of it from the mail.").into_response()
        }
    }
}
