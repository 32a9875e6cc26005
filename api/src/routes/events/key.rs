use axum::{extract::FromRequestParts, http::request::Parts};
use domain::webhooks::IdempotencyKey;
use utoipa::{
    IntoParams,
    openapi::{
        ObjectBuilder, Required, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

use crate::problem::Problem;

/// The header that names a request which may be sent again.
///
/// The draft of a standard: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>.
pub(super) const HEADER: &str = "idempotency-key";

/// The `Idempotency-Key` of a request, which must have exactly one.
pub(super) struct Key(pub(super) IdempotencyKey);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut lines = parts.headers.get_all(HEADER).iter();
        let (first, second) = (lines.next(), lines.next());
        let (Some(value), None) = (first, second) else {
            return Err(Problem::idempotency_key("must be sent, and once"));
        };
        let key = IdempotencyKey::parse(value.to_str().unwrap_or_default());
        key.map(Self).map_err(Problem::idempotency_key)
    }
}

impl IntoParams for Key {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[!-~]+$"));
        let key = ParameterBuilder::new()
            .name(HEADER)
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(
                "What the client calls this request, for instance a random UUID. To send it \
                 again within 24 hours, with the same key, gives the same answer and does nothing.",
            ))
            .schema(Some(schema));
        vec![key.build()]
    }
}
