use std::sync::LazyLock;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::problem::Problem;

const STYLE: &str = include_str!("../../../templates/page.css");

/// Nothing but this one style and this one form; no script, no frame, no other host.
///
/// `form-action` and `base-uri` do not fall back to `default-src`.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).ok()
});

/// What the page shows.
#[derive(Template)]
#[template(path = "verify.html")]
pub(super) struct Page<'a> {
    style: &'static str,
    title: &'static str,
    text: &'a str,
    /// The token that the button sends; without one there is no button.
    token: Option<&'a str>,
    done: bool,
    status: StatusCode,
}

impl<'a> Page<'a> {
    pub(super) fn confirm(token: &'a str) -> Self {
        Self {
            style: STYLE,
            title: "Confirm your address",
            text: "One click, and your account is ready.",
            token: Some(token),
            done: false,
            status: StatusCode::OK,
        }
    }

    pub(super) fn confirmed() -> Self {
        Self {
            title: "Your address is confirmed",
            text: "You can close this page and log in.",
            token: None,
            done: true,
            ..Self::confirm("")
        }
    }

    pub(super) fn refused(text: &'a str) -> Self {
        Self {
            title: "This link does not work",
            text,
            token: None,
            status: StatusCode::UNPROCESSABLE_ENTITY,
            ..Self::confirm("")
        }
    }
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        let html = match self.render() {
            Ok(html) => html,
            Err(error) => {
                tracing::error!(%error, "cannot render the page");
                return Problem::internal().into_response();
            }
        };
        let mut response = (self.status, Html(html)).into_response();
        if let Some(policy) = &*POLICY {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        }
        response
    }
}
