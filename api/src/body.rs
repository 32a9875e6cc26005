//! Bodies: a JSON object.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::StatusCode,
};
use serde_json::Value;

use crate::{
    fields::{Fields, FromFields, Source, type_of},
    json::Unambiguous,
    problem::{FieldError, Place, Problem},
};

/// The body of a request, read field by field; anything wrong with it is a [`Problem`].
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: FromFields> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(Unambiguous(Value::Object(fields)))) => {
                Fields::new(Source::Body, fields).read().map(Self)
            }
            Ok(Json(Unambiguous(other))) => Err(Problem::invalid_fields(vec![FieldError {
                place: Place::Pointer(String::new()),
                detail: format!("the body must be an object, not {}", type_of(&other)),
            }])),
            Err(rejection) => Err(refusal(&rejection)),
        }
    }
}

fn refusal(rejection: &JsonRejection) -> Problem {
    match rejection.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send the body as JSON, with `Content-Type: application/json`.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The body is larger than this service accepts.",
        ),
        _ => Problem::new(
            StatusCode::BAD_REQUEST,
            format!(
                "The body is not well-formed JSON. {}",
                rejection.body_text()
            ),
        ),
    }
}
