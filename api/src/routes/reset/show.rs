use axum::{
    extract::Query,
    response::{IntoResponse, Response},
};
use domain::Token;

use super::{TITLE, form};
use crate::routes::link_page::{Link, LinkPage};

/// `GET /reset?token=`: asks for the new password.
pub(super) async fn show(Query(link): Query<Link>) -> Response {
    let Ok(token) = Token::parse(&link.token) else {
        return LinkPage::incomplete().into_response();
    };
    let text = "At least 8 characters. Every session of your account ends with it.";
    LinkPage::ask(TITLE, text, form(token.expose())).into_response()
}
