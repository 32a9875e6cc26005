use std::{
    any::Any,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Router,
    body::HttpBody,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use service::settings::Http;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
    limit::RequestBodyLimitLayer,
    timeout::TimeoutLayer,
};

use crate::{
    client::{self, Client},
    etag,
    problem::{self, Problem},
    request,
};

/// How long a browser may remember what CORS allows.
const CORS_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The most bytes, and the longest time, that a refused body is still listened to.
const MOST_READ_AWAY: u64 = 16 * 1024 * 1024;
const LONGEST_READ_AWAY: Duration = Duration::from_secs(2);

/// Puts around `routes` what every request passes.
///
/// The order matters: the span is outermost so that every line of a request is in it; a problem
/// is written down outside of the time limit and the panics, so that theirs are too, and inside of
/// CORS, so that a browser may read it.
///
/// What has to wait for nothing is a plain function in one of few layers: one that waits costs
/// each request an allocation, and a copy of all layers inside of it.
pub(crate) fn around<S>(routes: Router<S>, http: &Http) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let defaults = default_headers(http);
    let layers = ServiceBuilder::new()
        .layer(from_fn(request::identify))
        .map_response(move |response| with_defaults(&defaults, response))
        .map_request(plain_unless_gzip)
        .layer(CompressionLayer::new())
        .map_request(aside_of_preflights)
        .layer(cors(&http.cors_origins))
        .layer(from_fn_with_state(http.trusted_proxies, answer))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            http.request_timeout,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(http.body_limit, read_away))
        .layer(RequestBodyLimitLayer::new(http.body_limit))
        // The request's body is limited above, for handlers that do not read it as well.
        .layer(DefaultBodyLimit::disable());
    routes
        .fallback(async || StatusCode::NOT_FOUND)
        .method_not_allowed_fallback(other_method)
        .layer(layers)
}

/// What an answer says unless its handler says otherwise.
fn default_headers(http: &Http) -> Arc<[(HeaderName, HeaderValue)]> {
    let policy = "default-src 'none'; frame-ancestors 'none'";
    let mut defaults = vec![
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("content-security-policy", policy),
    ];
    // Over plain HTTP browsers ignore it, and on a developer's machine it would stick.
    if http.public_url.starts_with("https://") {
        defaults.push(("strict-transport-security", "max-age=31536000"));
    }
    defaults
        .into_iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

fn with_defaults<B>(
    defaults: &[(HeaderName, HeaderValue)],
    mut response: Response<B>,
) -> Response<B> {
    for (name, value) in defaults {
        let entry = response.headers_mut().entry(name);
        entry.or_insert_with(|| value.clone());
    }
    response
}

/// Middleware: finds out whose request it is, and makes of what its handler leaves an answer: a
/// problem with a body, a 304, the limits announced.
async fn answer(State(proxies): State<usize>, mut request: Request, next: Next) -> Response {
    let client = Client::of(&request, proxies);
    let about = problem::About::of(&request);
    let known = etag::known(&request);
    request.extensions_mut().insert(client.clone());
    let response = next.run(request).await;
    let response = problem::document(&about, response);
    let mut response = etag::not_modified(known, response);
    client.announce_in(&mut response);
    response
}

fn cors(origins: &[String]) -> CorsLayer {
    // Settings hold only origins, which are valid header values.
    let origins = origins.iter().filter_map(|origin| origin.parse().ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            request::HEADER,
            HeaderName::from_static("traceparent"),
        ])
        .expose_headers([
            request::HEADER,
            header::ALLOW,
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            HeaderName::from_static("idempotency-replayed"),
            client::RATE_LIMIT,
            client::RATE_LIMIT_POLICY,
        ])
        .max_age(CORS_MAX_AGE)
}

/// The method of an OPTIONS request that is no preflight, from CORS on.
///
/// [`CorsLayer`] would answer it itself, also at paths that do not exist and without `Allow`.
static PLAIN_OPTIONS: LazyLock<Method> =
    LazyLock::new(|| Method::from_bytes(b"PLAIN-OPTIONS").expect("it is a token"));

fn aside_of_preflights(mut request: Request) -> Request {
    let headers = request.headers();
    let preflight = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !preflight {
        *request.method_mut() = PLAIN_OPTIONS.clone();
    }
    request
}

/// Reads a body that is known to be too large, and refuses it then.
///
/// Most clients send all of it before they read the answer; to close the connection in the middle
/// would reset it and lose the 413. One that asks first, by `Expect`, gets the answer at once.
async fn read_away(State(limit): State<usize>, request: Request, next: Next) -> Response {
    let announced = request.body().size_hint().lower();
    let too_large = announced > limit as u64;
    if too_large && !request.headers().contains_key(header::EXPECT) && announced <= MOST_READ_AWAY {
        let mut body = request.into_body();
        let all = async { while let Some(Ok(_)) = body.frame().await {} };
        // Whether all of it came in time makes no difference to the answer.
        let _ = tokio::time::timeout(LONGEST_READ_AWAY, all).await;
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    next.run(request).await
}

/// A path that exists, by a method that it does not have. The router adds `Allow`.
async fn other_method(method: Method) -> StatusCode {
    if method == *PLAIN_OPTIONS {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::METHOD_NOT_ALLOWED
    }
}

/// Forgets an `Accept-Encoding` that names nothing that we have.
///
/// [`CompressionLayer`] would turn the answer of a handler that has done its work into a 406; the
/// body as it is is what RFC 9110 (12.5.3) allows, and what every such client can read.
fn plain_unless_gzip(mut request: Request) -> Request {
    if !request::reads_gzip(request.headers()) {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    request
}

/// The panic itself is in the log: the hook of [`service::telemetry`] wrote it there.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        routing::get,
    };
    use service::settings::Environment;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_opaque_500() {
        let http = service::settings::Reader::from_pairs([("", "")])
            .read(|reader| Http::read(reader, Environment::Development))
            .unwrap();
        let panics = async || -> StatusCode { panic!("the secret reason") };
        let router = around(Router::new().route("/", get(panics)), &http);
        let request = Request::builder().uri("/").body(Body::empty()).unwrap();
        let response = router.with_state(()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["content-type"], problem::MEDIA_TYPE);
        let id = response.headers()[request::HEADER]
            .to_str()
            .unwrap()
            .to_owned();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains(&id) && !body.contains("secret"), "{body}");
    }
}
