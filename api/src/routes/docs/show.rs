use axum::{
    http::header,
    response::{Html, IntoResponse},
};

const PAGE: &str = include_str!("../../../templates/docs.html");

/// What the page may load: its own files, and calls of this API.
///
/// Swagger UI styles elements through the CSSOM, which no policy forbids, and so does without
/// `unsafe-inline`. Its icons are `data:` images in its style sheet. `form-action` and `base-uri`
/// do not fall back to `default-src`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'none'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// `GET /docs`: the page.
pub(super) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE))
}
