use axum::{
    extract::Query,
    response::{IntoResponse, Response},
};

use super::{TITLE, form};
use crate::routes::link_page::{Link, LinkPage, token};

/// `GET /reset?token=`: asks for the new password.
pub(super) async fn show(Query(link): Query<Link>) -> Response {
    match token(&link.token) {
        Ok(token) => {
            let text = "At least 8 characters. Every session of your account ends with it.";
            LinkPage::ask(TITLE, text, form(token.expose())).into_response()
        }
        Err(page) => page.into_response(),
    }
}
