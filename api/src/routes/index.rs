use axum::Json;
use serde::Serialize;

use super::{ENDPOINTS, Endpoint};

#[derive(Serialize)]
pub(super) struct Index {
    name: &'static str,
    version: &'static str,
    /// Where more is written than in the list below.
    documentation: &'static str,
    endpoints: &'static [Endpoint],
}

/// `GET /`: what this is, and what it has.
pub(super) async fn show() -> Json<Index> {
    Json(Index {
        name: "slipway",
        version: env!("CARGO_PKG_VERSION"),
        documentation: "README.md and the folder docs, in the repository of this service",
        endpoints: &ENDPOINTS,
    })
}
