use axum::{Json, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

/// What is said where the rest is said by mail: the same for every address.
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    #[schema(example = "A mail with the next step is on its way to this address.")]
    message: &'static str,
}

/// 202: whoever reads the mail of the address will know more.
pub(super) fn accepted(message: &'static str) -> (StatusCode, Json<Accepted>) {
    (StatusCode::ACCEPTED, Json(Accepted { message }))
}
