//! The page behind the link of a verification mail.

mod show;
mod submit;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use crate::App;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().route("/verify", get(show::show).post(submit::submit))
}
