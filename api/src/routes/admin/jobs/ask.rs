use askama::Template;
use axum::{http::StatusCode, response::Response};

use super::page::Page;
use crate::routes::admin::{
    ROOT,
    layout::{self, Layout},
    signed_in::SignedIn,
};

/// Asks before something is done that cannot be taken back.
#[derive(Template)]
#[template(path = "admin/ask.html")]
struct Ask<'a> {
    layout: Layout<'a>,
    page: Page<'a>,
    question: &'a str,
    text: &'a str,
    button: &'a str,
    /// How grave it is: the button's class.
    tone: &'a str,
    /// Where the answer goes, and where one goes without one, below `/admin/`.
    place: &'a str,
    back: &'a str,
}

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) question: &'a str,
    pub(super) text: &'a str,
    pub(super) button: &'a str,
    pub(super) is_grave: bool,
    pub(super) place: &'a str,
    pub(super) back: &'a str,
}

/// The page that asks it.
pub(super) fn ask(admin: &SignedIn, asked: &Question<'_>) -> Response {
    let template = Ask {
        layout: Layout::of(admin, ROOT),
        page: Page::still(admin),
        question: asked.question,
        text: asked.text,
        button: asked.button,
        tone: if asked.is_grave { "danger" } else { "" },
        place: asked.place,
        back: asked.back,
    };
    layout::page(StatusCode::OK, &template)
}
