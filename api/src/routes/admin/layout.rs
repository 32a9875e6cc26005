//! What all pages have in common.

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
};

use super::{asset::STYLE_LINK, signed_in::SignedIn};
use crate::problem::{FieldError, Problem};

/// Our own style, scripts, data and forms; nothing inline, no frame, no other host.
///
/// `form-action` and `base-uri` do not fall back to `default-src`.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// Under `no-referrer`, browsers send `Origin: null` with a form (Fetch, 3.2), which would say less
/// about where it comes from.
const REFERRER: HeaderValue = HeaderValue::from_static("same-origin");

/// The sections: where each is, and what it is called.
const SECTIONS: [(&str, &str); 4] = [
    ("/admin", "Queues"),
    ("/admin/workers", "Workers"),
    ("/admin/schedules", "Schedules"),
    ("/admin/actions", "Actions"),
];

/// What `layout.html` needs: a page that extends it has one as its field `layout`.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub(super) base: &'a str,
    pub(super) style: &'static str,
    /// Whom the page is for; without them it has no sections.
    pub(super) admin: Option<&'a SignedIn>,
    /// The path of its section.
    pub(super) section: &'static str,
}

impl<'a> Layout<'a> {
    /// Of a page in this section, one of [`SECTIONS`].
    pub(super) fn of(admin: &'a SignedIn, section: &'static str) -> Self {
        Self {
            admin: Some(admin),
            section,
            ..Self::bare(&admin.base)
        }
    }

    /// Of a page for anybody.
    pub(super) fn bare(base: &'a str) -> Self {
        Self {
            base,
            style: &STYLE_LINK,
            admin: None,
            section: "",
        }
    }

    /// For the line on top.
    pub(super) fn sections(&self) -> &'static [(&'static str, &'static str)] {
        &SECTIONS
    }
}

/// What went wrong, instead of the page.
#[derive(Template)]
#[template(path = "admin/failure.html")]
struct Failure<'a> {
    layout: Layout<'a>,
    title: &'a str,
    detail: &'a str,
    errors: &'a [FieldError],
    request_id: &'a str,
}

/// A page, with everything that its answer says besides.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => as_page((status, Html(html)).into_response()),
        Err(error) => {
            tracing::error!(%error, "cannot render the page");
            Problem::internal().into_response()
        }
    }
}

/// The page that shows an error of the service, instead of a problem document.
pub(crate) fn failure(
    uri: &Uri,
    status: StatusCode,
    detail: &str,
    errors: &[FieldError],
    request_id: &str,
) -> Response {
    let base = base(uri);
    let template = Failure {
        layout: Layout::bare(&base),
        title: status.canonical_reason().unwrap_or("Error"),
        detail,
        errors,
        request_id,
    };
    match template.render() {
        Ok(html) => as_page((status, Html(html)).into_response()),
        // Plain texts always render; an empty page is better than a second error.
        Err(_) => status.into_response(),
    }
}

/// What leads from a page to where `/admin` is: links are relative, so that a path that a proxy
/// puts in front stays.
pub(super) fn base(uri: &Uri) -> String {
    match uri.path().matches('/').count() {
        0 | 1 => ".".to_owned(),
        depth => vec![".."; depth - 1].join("/"),
    }
}

fn as_page(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::REFERRER_POLICY, REFERRER);
    response
}
