//! The page behind the link of a verification mail.
//!
//! Following a link must not use up its token: mail scanners and previews follow links too. So
//! `GET` shows a page with a button, and the button's `POST` verifies.

mod page;
mod show;
mod submit;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use self::page::Page;
use crate::App;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().route("/verify", get(show::show).post(submit::submit))
}
