use std::sync::LazyLock;

use axum::{Json, body::Bytes, http::header, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi;

#[derive(Serialize, ToSchema)]
pub(super) struct Index {
    #[schema(example = "slipway")]
    name: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Where more is written than in the list below.
    #[schema(example = "/docs and /openapi.json here")]
    documentation: &'static str,
    endpoints: &'static [Operation],
}

/// A line of the list.
#[derive(Debug, Serialize, ToSchema)]
struct Operation {
    #[schema(example = "GET")]
    method: String,
    #[schema(example = "/v1/me")]
    path: &'static str,
    /// What it is for.
    #[schema(example = "The caller's own account")]
    summary: &'static str,
}

static ENDPOINTS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let paths = openapi::document()["paths"].as_object();
    let paths = paths.into_iter().flatten();
    paths
        .flat_map(|(path, item)| {
            let operations = item.as_object().into_iter().flatten();
            operations.map(move |(method, operation)| Operation {
                method: method.to_uppercase(),
                path,
                summary: operation["summary"].as_str().unwrap_or_default(),
            })
        })
        .collect()
});

static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| openapi::text().into());

/// What this is, and what it has
#[utoipa::path(get, path = "/", tag = "service", responses(
    (status = 200, description = "The list of all endpoints.", body = Index),
))]
pub(super) async fn show() -> Json<Index> {
    Json(Index {
        name: "slipway",
        version: env!("CARGO_PKG_VERSION"),
        documentation: "/docs and /openapi.json here; README.md and the folder docs in the repository",
        endpoints: &ENDPOINTS,
    })
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses(
    (status = 200, description = "The OpenAPI document.", body = serde_json::Value),
))]
pub(super) async fn openapi() -> impl IntoResponse {
    let media_type = [(header::CONTENT_TYPE, "application/json")];
    (media_type, OPENAPI.clone())
}
