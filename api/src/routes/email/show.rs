use axum::{
    extract::Query,
    response::{IntoResponse, Response},
};

use crate::routes::link_page::{Form, Link, LinkPage, token};

/// `GET /email?token=`: asks for a click.
pub(super) async fn show(Query(link): Query<Link>) -> Response {
    let token = match token(&link.token) {
        Ok(token) => token,
        Err(page) => return page.into_response(),
    };
    let form = Form {
        action: "email",
        token: token.expose(),
        password: false,
        button: "Use this address",
    };
    let text = "One click, and your account has this address. Did you not ask for it? Then close \
                this page.";
    LinkPage::ask("Confirm your new address", text, form).into_response()
}
