//! The endpoints: a folder per resource, a file per verb.

mod accounts;
mod index;
mod me;
mod sessions;
mod verify;

use axum::{
    Router,
    routing::{get, post},
};
use serde::Serialize;

use crate::App;

/// A line of the list that `GET /` shows.
#[derive(Debug, Serialize)]
pub struct Endpoint {
    /// The HTTP method.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// What it is for, in one sentence.
    pub summary: &'static str,
}

/// What this service has. A test holds it equal to the routes.
pub const ENDPOINTS: [Endpoint; 9] = [
    endpoint("GET", "/", "This list."),
    endpoint("POST", "/v1/accounts", "Sign up: {email, password}."),
    endpoint(
        "POST",
        "/v1/accounts/verify",
        "Prove the address: {token} of the mail.",
    ),
    endpoint("POST", "/v1/sessions", "Log in: {email, password}."),
    endpoint(
        "GET",
        "/v1/me",
        "The caller's own account; needs an access token.",
    ),
    endpoint("GET", "/verify", "The page that the mail links to: ?token="),
    endpoint("POST", "/verify", "What that page sends."),
    endpoint("GET", "/livez", "Whether the process is alive."),
    endpoint("GET", "/readyz", "Whether it can do its work."),
];

const fn endpoint(method: &'static str, path: &'static str, summary: &'static str) -> Endpoint {
    Endpoint {
        method,
        path,
        summary,
    }
}

/// Every route but the probes.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(index::show))
        .route("/v1/accounts", post(accounts::create))
        .route("/v1/accounts/verify", post(accounts::verify))
        .route("/v1/sessions", post(sessions::create))
        .route("/v1/me", get(me::show))
        .route("/verify", get(verify::show).post(verify::submit))
}
