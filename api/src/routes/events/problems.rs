//! What can be wrong with an idempotency key.

use std::fmt::Display;

use axum::http::StatusCode;

use crate::problem::{Kind, Problem};

const IDEMPOTENCY_KEY: Kind = Kind {
    name: "idempotency-key",
    title: "The idempotency key is not valid",
};
const IDEMPOTENCY_KEY_IN_FLIGHT: Kind = Kind {
    name: "idempotency-key-in-flight",
    title: "The request is being worked on",
};
const IDEMPOTENCY_KEY_REUSED: Kind = Kind {
    name: "idempotency-key-reused",
    title: "The idempotency key was used for another request",
};

impl Problem {
    /// 400: the request needs an `Idempotency-Key`, and has none that is one.
    pub(super) fn idempotency_key(reason: impl Display) -> Self {
        Self::of_kind(
            StatusCode::BAD_REQUEST,
            &IDEMPOTENCY_KEY,
            format!("The header `Idempotency-Key` {reason}."),
        )
    }

    /// 409: the same request, or another with its key, has not been answered yet.
    pub(super) fn idempotency_key_in_flight() -> Self {
        Self::of_kind(
            StatusCode::CONFLICT,
            &IDEMPOTENCY_KEY_IN_FLIGHT,
            "A request with this `Idempotency-Key` is being worked on. Send it again in a moment.",
        )
    }

    /// 422: the key belongs to another request.
    pub(super) fn idempotency_key_reused() -> Self {
        Self::of_kind(
            StatusCode::UNPROCESSABLE_ENTITY,
            &IDEMPOTENCY_KEY_REUSED,
            "This `Idempotency-Key` was used for another request. Give each request its own.",
        )
    }
}
