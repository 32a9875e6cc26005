//! The sign-in: an address and its password for a cookie.

pub(super) mod show;
pub(super) mod submit;

use askama::Template;
use axum::{
    http::{StatusCode, Uri},
    response::Response,
};

use super::layout::{self, Layout};

/// The form.
#[derive(Template)]
#[template(path = "admin/sign_in.html")]
struct SignIn<'a> {
    layout: Layout<'a>,
    /// The page to go to afterwards.
    next: &'a str,
    /// What was typed before, if that was refused.
    refused: Option<&'a str>,
}

fn form(uri: &Uri, next: &str, refused: Option<&str>) -> Response {
    let base = layout::base(uri);
    let layout = Layout::bare(&base);
    let template = SignIn {
        layout,
        next,
        refused,
    };
    // Not 401, which would have to name a scheme of HTTP that the browser could answer.
    let status = refused.map_or(StatusCode::OK, |_| StatusCode::FORBIDDEN);
    layout::page(status, &template)
}
