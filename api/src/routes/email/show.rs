use axum::{
    extract::Query,
    response::{IntoResponse, Response},
};
use domain::Token;

use crate::routes::link_page::{Form, Link, LinkPage};

/// `GET /email?token=`: asks for a click.
pub(super) async fn show(Query(link): Query<Link>) -> Response {
    let Ok(token) = Token::parse(&link.token) else {
        return LinkPage::incomplete().into_response();
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
