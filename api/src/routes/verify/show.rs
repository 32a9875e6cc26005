use axum::{
    extract::Query,
    response::{IntoResponse, Response},
};

use crate::routes::link_page::{Form, Link, LinkPage, token};

/// `GET /verify?token=`: asks for a click.
pub(super) async fn show(Query(link): Query<Link>) -> Response {
    let token = match token(&link.token) {
        Ok(token) => token,
        Err(page) => return page.into_response(),
    };
    let form = Form {
        action: "verify",
        token: token.expose(),
        password: false,
        button: "Confirm",
    };
    let text = "One click, and your account is ready.";
    LinkPage::ask("Confirm your address", text, form).into_response()
}
