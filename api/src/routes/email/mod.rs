//! The page behind the link of a mail that confirms a new address.

mod show;
mod submit;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use crate::App;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().route("/email", get(show::show).post(submit::submit))
}
