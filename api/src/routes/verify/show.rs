use axum::{
    extract::Query,
    response::{IntoResponse, Response},
};
use domain::Token;

use crate::routes::link_page::{Form, Link, LinkPage};

/// `GET /verify?token=`: asks for a click.
pub(super) async fn show(Query(link): Query<Link>) -> Response {
    let Ok(token) = Token::parse(&link.token) else {
        return LinkPage::incomplete().into_response();
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
