//! Versions of a resource, as `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13).
//!
//! A row that can be changed has a `version` that grows with each change. `GET` sends it as
//! [`ETag`]; a client that sends it back with its PATCH or DELETE, as [`IfMatch`], changes what it
//! has seen or nothing, and hears 412 when somebody else was faster.

mod own;

use std::{convert::Infallible, fmt::Write};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, IntoResponseParts, Response, ResponseParts},
};
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

pub use self::own::{OwnETag, OwnIfMatch};

/// The version of what the body shows: `(ETag(row.version), Json(answer))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag(pub i64);

impl IntoResponseParts for ETag {
    type Error = Infallible;

    fn into_response_parts(self, parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        tagged(parts, &self.0.to_string())
    }
}

fn tagged(mut parts: ResponseParts, tag: &str) -> Result<ResponseParts, Infallible> {
    // Digits and letters in quotes are always a valid value.
    if let Ok(value) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        parts.headers_mut().insert(header::ETAG, value);
    }
    Ok(parts)
}

/// The versions that a change may be made to; `None` for any.
///
/// In SQL: `AND ($4::bigint[] IS NULL OR version = ANY($4))`, so that the comparison and the
/// change are one step. A tag that is not ours is no version, and matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(pub Option<Vec<i64>>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(if_match(&parts.headers, |tag| {
            // As text: `"07"` and `"+7"` are other tags than `"7"`.
            tag.parse()
                .ok()
                .filter(|version: &i64| version.to_string() == tag)
        })))
    }
}

/// What the tags of `If-Match` say, as far as they are ours; `None` where there are none, or `*`.
fn if_match<T>(headers: &HeaderMap, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let list = list(headers, &header::IF_MATCH).filter(|list| list.trim() != "*")?;
    // This comparison is the strong one: a weak tag matches nothing.
    let strong = tags(&list).filter(|(weak, _)| !weak);
    Some(strong.filter_map(|(_, tag)| read(tag)).collect())
}

/// The tags of a list, each with whether it is weak (RFC 9110, section 8.8.3). It ends at the first
/// thing that is none, and what is in quotes may have commas.
fn tags(list: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let weak = rest.starts_with("W/");
        let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (tag, behind) = quoted.split_once('"')?;
        rest = behind;
        Some((weak, tag))
    })
}

/// For the document: that `GET` sends an [`ETag`] and answers 304 to `If-None-Match`.
///
/// Nothing reads it: `not_modified` sees to it wherever there is an `ETag`.
#[derive(Clone, Copy, Debug)]
pub struct IfNoneMatch;

/// The versions that the client of a request to read has already, as it says.
pub(crate) fn known(request: &Request) -> Option<String> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    list(request.headers(), &header::IF_NONE_MATCH).filter(|_| reads)
}

/// Makes a 304 of an answer whose version is [`known`].
pub(crate) fn not_modified(known: Option<String>, response: Response) -> Response {
    let (Some(known), Some(tag)) = (known, response.headers().get(header::ETAG)) else {
        return response;
    };
    // The weak comparison: what is known may be older than a compression of the body.
    let current = tag.to_str().unwrap_or_default().trim_matches('"');
    let same = known.trim() == "*" || tags(&known).any(|(_, tag)| tag == current);
    if response.status() != StatusCode::OK || !same {
        return response;
    }
    let mut headers = response.headers().clone();
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_TYPE);
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

/// The values of a header, which may come in several lines; `None` without one.
fn list(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter();
    let mut all = lines.next()?.to_str().unwrap_or_default().to_owned();
    for line in lines {
        // Writing to a string cannot fail.
        let _ = write!(all, ",{}", line.to_str().unwrap_or_default());
    }
    Some(all)
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![crate::openapi::header_parameter(
            "if-match",
            "The `ETag` of the version to change; anything else that is there now is 412.",
        )]
    }
}

impl IntoParams for IfNoneMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![crate::openapi::header_parameter(
            "if-none-match",
            "The `ETag` of the version that the client has; 304 when it is still this one.",
        )]
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Json, Router,
        body::Body,
        middleware::{Next, from_fn},
        routing::get,
    };
    use tower::ServiceExt;

    use super::*;

    async fn if_match(lines: &[&str]) -> Option<Vec<i64>> {
        let mut request = Request::builder();
        for line in lines {
            request = request.header("if-match", *line);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let Ok(IfMatch(versions)) = IfMatch::from_request_parts(&mut parts, &()).await;
        versions
    }

    #[tokio::test]
    async fn only_strong_tags_of_ours_match() {
        assert_eq!(if_match(&[]).await, None);
        assert_eq!(if_match(&["*"]).await, None);
        assert_eq!(if_match(&["\"7\""]).await, Some(vec![7]));
        assert_eq!(
            if_match(&["\"7\", \"8\"", "\"9\""]).await,
            Some(vec![7, 8, 9])
        );
        let mixed = [",W/\"6\", \"a,\" ,\t\"7\",,", " \"8\" "];
        assert_eq!(if_match(&mixed).await, Some(vec![7, 8]));
        for tag in [
            "",
            "7",
            "W/\"7\"",
            "\"seven\"",
            "\"7",
            "\u{fc}",
            "\"07\"",
            "\"+7\"",
            "\"-0\"",
            "\" 7\"",
            "\"1,7\"",
            "\"7\u{a0}\"",
            "\"99999999999999999999\"",
            "w/\"7\"",
            "*, *",
        ] {
            assert_eq!(if_match(&[tag]).await, Some(vec![]), "{tag}");
        }
    }

    #[tokio::test]
    async fn who_has_the_version_gets_no_body() {
        let ask = async |method: Method, known: &str| {
            let show = get(async || (ETag(7), Json(1))).post(async || (ETag(7), Json(1)));
            let answer = async |request: Request, next: Next| {
                let known = super::known(&request);
                not_modified(known, next.run(request).await)
            };
            let router = Router::new().route("/", show).layer(from_fn(answer));
            let request = Request::builder().method(method).uri("/");
            let request = request.header("if-none-match", known);
            let response = router
                .oneshot(request.body(Body::empty()).unwrap())
                .await
                .unwrap();
            assert_eq!(response.headers()["etag"], "\"7\"");
            response
        };
        for known in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            let response = ask(Method::GET, known).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
            let body = axum::body::to_bytes(response.into_body(), 1).await.unwrap();
            assert!(body.is_empty());
        }
        for (method, known) in [
            (Method::GET, "\"6\""),
            (Method::GET, "7"),
            (Method::GET, "W/W/\"7\""),
            (Method::GET, "\"07\""),
            (Method::GET, "\"6,\"7\""),
            (Method::POST, "\"7\""),
        ] {
            assert_eq!(ask(method, known).await.status(), StatusCode::OK);
        }
    }
}
