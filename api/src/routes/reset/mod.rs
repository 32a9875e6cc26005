//! The page behind the link of a mail that resets a password.

mod show;
mod submit;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use super::link_page::Form;
use crate::App;

const TITLE: &str = "Choose a new password";

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().route("/reset", get(show::show).post(submit::submit))
}

fn form(token: &str) -> Form<'_> {
    Form {
        action: "reset",
        token,
        password: true,
        button: "Change the password",
    }
}
