//! Bodies: a JSON object.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::StatusCode,
};
use serde_json::{Value, value::RawValue};

use crate::{
    fields::{Fields, FromFields, Source, type_of},
    json::Unambiguous,
    message,
    problem::{FieldError, Place, Problem},
};

/// The body of a request, read field by field; anything wrong with it is a [`Problem`].
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: FromFields> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        message::plain(request.headers())?;
        match Json::from_request(request, state).await {
            Ok(Json(Unambiguous(value))) => object(value)?.read().map(Self),
            Err(rejection) => Err(refusal(&rejection)),
        }
    }
}

/// Like [`Body`], with the JSON as it was sent: for what is stored or compared to the last digit.
#[derive(Debug)]
pub struct Verbatim<T> {
    /// What was read of it.
    pub fields: T,
    /// All of it.
    pub text: Box<RawValue>,
}

impl<S: Send + Sync, T: FromFields> FromRequest<S> for Verbatim<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        message::plain(request.headers())?;
        let text = Json::<Box<RawValue>>::from_request(request, state).await;
        let Json(text) = text.map_err(|rejection| refusal(&rejection))?;
        // Read once more, which also refuses what not everybody could read: endless nesting, numbers
        // beyond all measure, halves of characters.
        let value = serde_json::from_str(text.get());
        let Unambiguous(value) = value.map_err(|error| Problem::not_json(&error))?;
        let fields = object(value)?.read()?;
        Ok(Self { fields, text })
    }
}

fn object(value: Value) -> Result<Fields, Problem> {
    match value {
        Value::Object(fields) => Ok(Fields::new(Source::Body, fields)),
        other => Err(Problem::invalid_fields(vec![FieldError {
            place: Place::Pointer(String::new()),
            detail: format!("the body must be an object, not {}", type_of(&other)),
        }])),
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
        _ => Problem::not_json(&rejection.body_text()),
    }
}
