//! A problem as it is sent: written down in one place, whoever left it.

use axum::{
    extract::Request,
    http::{Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{FieldError, MEDIA_TYPE, Problem};
use crate::{
    request::{RequestId, shortened},
    routes::admin,
};

/// The body of a problem, as RFC 9457 has it, with two members of our own.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    request_id: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

/// What a problem says of its request.
pub(crate) struct About {
    id: Option<RequestId>,
    uri: Uri,
}

impl About {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            id: request.extensions().get::<RequestId>().cloned(),
            uri: request.uri().clone(),
        }
    }
}

/// Writes an error down as a problem document.
///
/// Handlers leave a [`Problem`]; the router and the layers leave a bare status. An answer with a
/// body of its own, such as a page or the report of `/readyz`, stays as it is. Below `/admin` people
/// read it, in a browser: there it is a page.
pub(crate) fn document(about: &About, mut response: Response) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare_error(&response) => Problem::of_status(response.status()),
        None => return response,
    };
    let id = about.id.as_ref().map(ToString::to_string);
    let id = id.unwrap_or_default();
    let written = if admin::has(about.uri.path()) {
        admin::failure(
            &about.uri,
            problem.status,
            &problem.detail,
            &problem.errors,
            &id,
        )
    } else {
        described(&problem, about, id)
    };
    // `Allow`, `WWW-Authenticate` and their like are kept.
    let mut headers = std::mem::take(response.headers_mut());
    headers.remove(header::CONTENT_LENGTH);
    let mut documented = problem.into_response();
    documented.extensions_mut().clear();
    documented.headers_mut().extend(headers);
    let (head, body) = written.into_parts();
    documented.headers_mut().extend(head.headers);
    *documented.body_mut() = body;
    documented
}

/// The body of a problem, with its type.
fn described(problem: &Problem, about: &About, request_id: String) -> Response {
    let (r#type, title) = problem.kind.map_or_else(
        || {
            let title = problem.status.canonical_reason().unwrap_or("Error");
            ("about:blank".to_owned(), title)
        },
        |kind| {
            let r#type = format!("urn:problem-type:slipway:{}", kind.name);
            (r#type, kind.title)
        },
    );
    let body = Document {
        r#type,
        title,
        status: problem.status.as_u16(),
        detail: &problem.detail,
        instance: shortened(about.uri.path()),
        request_id,
        errors: &problem.errors,
    };
    // Plain texts and numbers always serialize; an empty body is better than a second error.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response()
}

/// Whether this is an error that nobody wrote a body for: none, or a line of plain text.
fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let bare = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|media_type| media_type.as_bytes().starts_with(b"text/plain"));
    (status.is_client_error() || status.is_server_error()) && bare
}
