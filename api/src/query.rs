//! Queries: what follows the `?` of an address.

use axum::{
    extract::{FromRequestParts, Query as Pairs},
    http::{StatusCode, request::Parts},
};
use serde_json::{Map, Value};

use crate::{
    fields::{Fields, FromFields, Source},
    problem::{FieldError, Place, Problem},
};

/// The query of a request, read parameter by parameter; every value is a text.
///
/// A parameter that is not known is refused: a filter with a slip of the pen would otherwise be no
/// filter at all. So is one that is given twice.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: FromFields> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = Pairs::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Ok(Pairs(pairs)) = pairs else {
            let detail = "The query is not well-formed: it must be UTF-8, percent-encoded.";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        };
        let mut parameters = Map::new();
        for (name, value) in pairs {
            if parameters.contains_key(&name) {
                return Err(Problem::invalid_parameters(vec![FieldError {
                    place: Place::Parameter(name),
                    detail: "must be given once".to_owned(),
                }]));
            }
            parameters.insert(name, Value::String(value));
        }
        Fields::new(Source::Query, parameters).read().map(Self)
    }
}
