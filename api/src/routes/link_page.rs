//! The pages behind the links of mails.
//!
//! Following a link must not use up its token: mail scanners and previews follow links too. So
//! `GET` shows a page with a form, and the form's `POST` does what the token is for.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

const STYLE: &str = include_str!("../../templates/page.css");

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

/// The query of a link.
#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    pub(super) token: String,
}

/// What a page without fields sends.
#[derive(Deserialize)]
pub(super) struct Click {
    pub(super) token: String,
}

/// One of these pages.
#[derive(Template)]
#[template(path = "link.html")]
pub(super) struct LinkPage<'a> {
    style: &'static str,
    mark: &'static str,
    title: &'a str,
    text: &'a str,
    /// Whether the text says what is wrong with what was typed.
    wrong: bool,
    form: Option<Form<'a>>,
    done: bool,
    status: StatusCode,
}

/// What a page asks for.
pub(super) struct Form<'a> {
    /// Where it goes: the page's own path, without the slash, so that a prefix stays.
    pub(super) action: &'static str,
    pub(super) token: &'a str,
    /// Whether a new password is typed.
    pub(super) password: bool,
    pub(super) button: &'static str,
}

impl<'a> LinkPage<'a> {
    /// Asks for a click.
    pub(super) fn ask(title: &'a str, text: &'a str, form: Form<'a>) -> Self {
        Self {
            style: STYLE,
            mark: if form.password { "*" } else { "@" },
            title,
            text,
            wrong: false,
            form: Some(form),
            done: false,
            status: StatusCode::OK,
        }
    }

    /// Asks again, as something that was typed cannot be taken.
    pub(super) fn ask_again(title: &'a str, text: &'a str, form: Form<'a>) -> Self {
        Self {
            wrong: true,
            status: StatusCode::UNPROCESSABLE_ENTITY,
            ..Self::ask(title, text, form)
        }
    }

    /// It is done.
    pub(super) fn done(title: &'a str, text: &'a str) -> Self {
        Self {
            style: STYLE,
            mark: "✓",
            title,
            text,
            wrong: false,
            form: None,
            done: true,
            status: StatusCode::OK,
        }
    }

    /// It cannot be done with this link.
    pub(super) fn refused(text: &'a str) -> Self {
        Self {
            mark: "!",
            done: false,
            status: StatusCode::UNPROCESSABLE_ENTITY,
            ..Self::done("This link does not work", text)
        }
    }

    /// There is no token in it.
    pub(super) fn incomplete() -> Self {
        Self::refused("The link is incomplete. Copy all of it from the mail.")
    }
}

impl IntoResponse for LinkPage<'_> {
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
