//! Paths: the ids in an address.

use axum::{
    extract::{FromRequestParts, Path as Segments},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The ids in a request's path. One that has not the form of an id is 404: there is nothing there.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let segments = Segments::<T>::from_request_parts(parts, state).await;
        segments
            .map(|Segments(ids)| Self(ids))
            .map_err(|_| Problem::not_found())
    }
}
