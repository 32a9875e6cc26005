use std::{any::Any, time::Duration};

use axum::{
    Router,
    body::HttpBody,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state, map_request},
    response::{IntoResponse, Response},
    routing::Route,
};
use http_body_util::BodyExt;
use service::settings::Http;
use tower::{Layer, ServiceBuilder, ServiceExt, layer::layer_fn, service_fn};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
    limit::RequestBodyLimitLayer,
    set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
};

use crate::{client, etag, problem, problem::Problem, request};

/// How long a browser may remember what CORS allows.
const CORS_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The most bytes, and the longest time, that a refused body is still listened to.
const MOST_READ_AWAY: u64 = 16 * 1024 * 1024;
const LONGEST_READ_AWAY: Duration = Duration::from_secs(2);

/// Puts around `routes` what every request passes, from the inside out.
///
/// The order matters: the span is outermost so that every line of a request is in it; a problem
/// is written down outside of the time limit and the panics, so that theirs are too, and inside of
/// CORS, so that a browser may read it.
pub(crate) fn around<S>(routes: Router<S>, http: &Http) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let guards = ServiceBuilder::new()
        .layer(from_fn_with_state(http.trusted_proxies, client::recognise))
        .layer(from_fn(etag::not_modified))
        .layer(from_fn(problem::document))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            http.request_timeout,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(http.body_limit, read_away))
        .layer(RequestBodyLimitLayer::new(http.body_limit));
    let outside = ServiceBuilder::new()
        .layer(from_fn(request::identify))
        .layer(default_header("x-content-type-options", "nosniff"))
        .layer(default_header("x-frame-options", "DENY"))
        .layer(default_header("referrer-policy", "no-referrer"))
        .layer(default_header("cache-control", "no-store"))
        .layer(default_header(
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ))
        .option_layer(
            // Over plain HTTP browsers ignore it, and on a developer's machine it would stick.
            http.public_url
                .starts_with("https://")
                .then(|| default_header("strict-transport-security", "max-age=31536000")),
        )
        .layer(map_request(plain_unless_gzip))
        .layer(CompressionLayer::new());
    let cors = cors(&http.cors_origins);
    routes
        .fallback(async || StatusCode::NOT_FOUND)
        .method_not_allowed_fallback(other_method)
        // The request's body is limited above, for handlers that do not read it as well.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(guards)
        .layer(layer_fn(move |routes: Route| {
            preflights_only(&cors, routes)
        }))
        .layer(outside)
}

fn default_header(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    let name = HeaderName::from_static(name);
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
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

/// CORS around `routes`, but for OPTIONS requests that are no preflight.
///
/// [`CorsLayer`] would answer those itself, also at paths that do not exist and without `Allow`.
fn preflights_only(
    cors: &CorsLayer,
    routes: Route,
) -> impl tower::Service<Request, Response = Response, Error = std::convert::Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ use<> {
    let with_cors = cors.layer(routes.clone());
    service_fn(move |request: Request| {
        let (with_cors, routes) = (with_cors.clone(), routes.clone());
        async move {
            let preflight = request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
            if request.method() == Method::OPTIONS && !preflight {
                routes.oneshot(request).await
            } else {
                with_cors.oneshot(request).await
            }
        }
    })
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
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::METHOD_NOT_ALLOWED
    }
}

/// Forgets an `Accept-Encoding` that names nothing that we have.
///
/// [`CompressionLayer`] would turn the answer of a handler that has done its work into a 406; the
/// body as it is is what RFC 9110 (12.5.3) allows, and what every such client can read.
async fn plain_unless_gzip(mut request: Request) -> Request {
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
