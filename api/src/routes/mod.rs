//! The endpoints: a folder per resource, a file per verb.

mod accounts;
mod docs;
mod index;
mod me;
mod sessions;
mod verify;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::App;

/// Every route but the probes. Pages for people are not in the document.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(index::show))
        .routes(routes!(index::openapi))
        .merge(docs::router())
        .merge(accounts::router())
        .merge(sessions::router())
        .merge(me::router())
        .merge(verify::router())
}
