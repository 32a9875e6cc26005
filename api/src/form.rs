//! Bodies: what a browser sends of a form.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::StatusCode,
    response::IntoResponse as _,
};
use percent_encoding::percent_decode;
use serde::de::DeserializeOwned;

use crate::{message, problem::Problem};

/// The fields of a form (`application/x-www-form-urlencoded`), as a `T` that serde reads.
///
/// What is no text is refused, as in JSON. The library would put U+FFFD in its place, and then two
/// passwords could be one, and be none that a program can log in with.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        message::plain(request.headers())?;
        let (head, body) = request.into_parts();
        let body = Bytes::from_request(Request::from_parts(head.clone(), body), state).await;
        let body = body.map_err(|rejection| refused(rejection.into_response().status()))?;
        // No part of a character is `&` or `=`: the whole is text if each field is.
        if percent_decode(&body).decode_utf8().is_err() {
            return Err(refused(StatusCode::BAD_REQUEST));
        }
        let request = Request::from_parts(head, Body::from(body));
        match axum::Form::from_request(request, state).await {
            Ok(axum::Form(fields)) => Ok(Self(fields)),
            Err(rejection) => Err(refused(rejection.into_response().status())),
        }
    }
}

fn refused(status: StatusCode) -> Problem {
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "The body is larger than this service accepts.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            "Send the form as `application/x-www-form-urlencoded`."
        }
        StatusCode::BAD_REQUEST => "The form is not UTF-8.",
        _ => "The form does not have the fields of its page.",
    };
    Problem::new(status, detail)
}
