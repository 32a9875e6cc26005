//! What an endpoint may not do.

use axum::http::StatusCode;
use domain::webhooks::MOST_ENDPOINTS;

use crate::problem::{Kind, Problem};

const TOO_MANY_WEBHOOKS: Kind = Kind {
    name: "too-many-webhooks",
    title: "The account has too many webhooks",
};
const WEBHOOK_DISABLED: Kind = Kind {
    name: "webhook-disabled",
    title: "The webhook is disabled",
};

impl Problem {
    /// 409: the account has as many webhooks as it may have.
    pub(super) fn too_many_webhooks() -> Self {
        Self::of_kind(
            StatusCode::CONFLICT,
            &TOO_MANY_WEBHOOKS,
            format!("An account has at most {MOST_ENDPOINTS}. Delete one that is not needed."),
        )
    }

    /// 409: a webhook that is disabled is told of nothing.
    pub(super) fn webhook_disabled() -> Self {
        Self::of_kind(
            StatusCode::CONFLICT,
            &WEBHOOK_DISABLED,
            "Enable it first: `PATCH` with `{\"enabled\": true}`.",
        )
    }
}
