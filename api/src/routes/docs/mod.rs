//! The OpenAPI document for people: Swagger UI, from the binary itself.

mod asset;
mod show;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use crate::App;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .route("/docs", get(show::show))
        .route("/docs/{file}", get(asset::show))
}
