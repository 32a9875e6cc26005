//! The endpoints: a folder per resource, a file per verb.

mod accepted;
mod accounts;
pub(crate) mod admin;
mod docs;
mod email;
mod email_changes;
mod events;
mod index;
mod link_page;
mod me;
mod password_resets;
mod reset;
mod sessions;
mod verify;
mod webhooks;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::App;

/// Every route but the probes. Pages for people are not in the document.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(index::show))
        .routes(routes!(index::openapi))
        .merge(docs::router())
        .merge(accounts::router())
        .merge(sessions::router())
        .merge(me::router())
        .merge(webhooks::router())
        .merge(events::router())
        .merge(password_resets::router())
        .merge(email_changes::router())
        .merge(verify::router())
        .merge(reset::router())
        .merge(email::router())
        .merge(admin::router())
}
