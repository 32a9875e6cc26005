use askama::Template;
use axum::{http::StatusCode, response::Response};

use super::{
    ROOT,
    layout::{self, Layout},
    signed_in::SignedIn,
};

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct Overview<'a> {
    layout: Layout<'a>,
}

/// `GET /admin`: the first page.
pub(super) async fn show(admin: SignedIn) -> Response {
    let layout = Layout::of(&admin, ROOT);
    layout::page(StatusCode::OK, &Overview { layout })
}
