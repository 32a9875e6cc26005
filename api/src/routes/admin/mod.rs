//! `/admin`: pages for admins, who sign in with a cookie.
//!
//! To add a page, write its template below `templates/admin/` (`overview.html` is one), and its
//! handler as a file here: it takes a [`SignedIn`](signed_in::SignedIn) and answers
//! [`layout::page`]. A form is posted to a handler that takes a
//! [`Confirmed`](signed_in::Confirmed), and its template has the hidden field `csrf`; it calls
//! [`SignedIn::record`](signed_in::SignedIn::record) before it acts. Whatever fails is a
//! [`Problem`](crate::problem::Problem), as everywhere; below `/admin` it is shown as a page.

mod actions;
mod asset;
mod cookie;
mod jobs;
mod layout;
mod next;
mod same_origin;
mod sign_in;
mod sign_out;
mod signed_in;

use axum::{
    middleware,
    routing::{get, post},
};
use utoipa_axum::router::OpenApiRouter;

pub(crate) use self::layout::failure;
use crate::App;

/// Under which path all of it is.
const ROOT: &str = "/admin";

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .route(
            "/admin/sign-in",
            get(sign_in::show::show).post(sign_in::submit::submit),
        )
        .route("/admin/sign-out", post(sign_out::sign_out))
        .route("/admin/actions", get(actions::list))
        .route("/admin/admin.css", get(asset::style))
        .route("/admin/jobs.css", get(asset::jobs_style))
        .route("/admin/live.js", get(asset::live))
        .merge(jobs::router())
        // Around all of the above.
        .route_layer(middleware::from_fn(same_origin::required))
}

/// Whether this path is one of ours.
pub(crate) fn has(path: &str) -> bool {
    path.strip_prefix(ROOT)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
