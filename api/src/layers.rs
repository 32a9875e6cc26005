//! What every request passes on its way to its route, and every answer on its way back.

mod arriving;

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use http_body_util::{BodyExt, Limited};
use service::{database::Work, settings::Http};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
};

use self::arriving::Awaited;
use crate::{
    by_route::ByRoute,
    client::{self, Client},
    etag, message,
    metrics::Requests,
    problem::{self, Problem},
    request::{self, Identity},
};

/// How long a browser may remember what CORS allows.
const CORS_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// What a shared cache has to tell apart, also where it makes no difference to this answer.
const BY_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");
const BY_ORIGIN: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// The most bytes, and the longest time, that a refused body is still listened to.
const MOST_READ_AWAY: u64 = 16 * 1024 * 1024;
const LONGEST_READ_AWAY: Duration = Duration::from_secs(2);

/// The routes with everything around them, to be asked with a request. To clone it is to count it.
///
/// The layers are functions that call one another, from [`Api::answer`] inwards, around the router
/// as a whole. As layers of the router they would be copied for each request, once for every one
/// that waits, and those that most requests have no use for would be passed by all.
#[derive(Clone)]
pub struct Api(Arc<Layers>);

struct Layers {
    routes: Router,
    requests: Arc<Requests>,
    defaults: Vec<(HeaderName, HeaderValue)>,
    cors: CorsLayer,
    trusted_proxies: usize,
    request_timeout: Duration,
    body_limit: usize,
}

impl Api {
    /// Puts everything around these routes.
    pub(crate) fn around(routes: Router, http: &Http, requests: Requests) -> Self {
        let requests = Arc::new(requests);
        let routes = routes
            .fallback(elsewhere)
            .method_not_allowed_fallback(other_method)
            // The request's body is limited below, for handlers that do not read it as well.
            .layer(DefaultBodyLimit::disable())
            .layer(ByRoute::new(&requests));
        Self(Arc::new(Layers {
            routes,
            requests,
            defaults: default_headers(http),
            cors: cors(&http.cors_origins),
            trusted_proxies: http.trusted_proxies,
            request_timeout: http.request_timeout,
            body_limit: http.body_limit,
        }))
    }

    /// Answers a request.
    ///
    /// The order matters: the span is outermost so that every line of a request is in it; a problem
    /// is written down outside of the time limit and the panics, so that theirs are too, and inside
    /// of CORS, so that a browser may read it.
    pub async fn answer<B>(&self, request: Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let mut request = request.map(|body| {
            // Most requests have none, and nothing to be boxed.
            if body.is_end_stream() {
                Body::empty()
            } else {
                Body::new(body)
            }
        });
        let identity = Identity::of(&mut request, &self.0.requests);
        // It stays where it is, as each of those around it would have room for another.
        let answer = identity.enclose(self.0.headed(request));
        let answer = std::pin::pin!(answer);
        identity.around(answer).await
    }
}

/// From the outermost inwards.
impl Layers {
    /// Sets the headers that an answer has unless its handler says otherwise.
    async fn headed(&self, request: Request) -> Response {
        let mut response = self.compressed(request).await;
        for (name, value) in &self.defaults {
            let entry = response.headers_mut().entry(name);
            entry.or_insert_with(|| value.clone());
        }
        response
    }

    /// Compresses the answer for those who read gzip.
    ///
    /// An `Accept-Encoding` that names nothing that we have is as good as none. The library would
    /// turn the answer of a handler that has done its work into a 406; the body as it is is what
    /// RFC 9110 (12.5.3) allows, and what every such client can read.
    async fn compressed(&self, request: Request) -> Response {
        let mut response = if request::reads_gzip(request.headers()) {
            let head = request.method() == Method::HEAD;
            let mut response = self.with_gzip(request).await;
            if head {
                // That of the body as it is, which GET would not send.
                response.headers_mut().remove(header::CONTENT_LENGTH);
            }
            response
        } else {
            self.shared(request).await
        };
        let mut vary = response.headers().get_all(header::VARY).iter();
        if vary.all(|value| value != BY_ENCODING) {
            response.headers_mut().append(header::VARY, BY_ENCODING);
        }
        response
    }

    /// Boxed, as what few requests need would otherwise be room in the future of each.
    fn with_gzip(&self, request: Request) -> BoxFuture<'_, Response> {
        let inside = service_fn(|request| self.shared(request).map(Ok::<_, Infallible>));
        let response = CompressionLayer::new().layer(inside).oneshot(request);
        Box::pin(response.map(|Ok(response)| response.map(Body::new)))
    }

    /// Says which other origins may read the answer, where a browser asks for one of them.
    ///
    /// The library takes every OPTIONS for a preflight, and would answer one that is none also at
    /// paths that do not exist, and without `Allow`.
    async fn shared(&self, request: Request) -> Response {
        let headers = request.headers();
        let preflight = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let plain_options = request.method() == Method::OPTIONS && !preflight;
        if headers.contains_key(header::ORIGIN) && !plain_options {
            return self.with_cors(request).await;
        }
        let mut response = self.documented(request).await;
        response.headers_mut().append(header::VARY, BY_ORIGIN);
        response
    }

    /// Boxed for the same reason.
    fn with_cors(&self, request: Request) -> BoxFuture<'_, Response> {
        let inside = service_fn(|request| self.documented(request).map(Ok::<_, Infallible>));
        let response = self.cors.layer(inside).oneshot(request);
        Box::pin(response.map(|Ok(response)| response))
    }

    /// Finds out whose request it is, and makes of what its handler leaves an answer: a problem
    /// with a body, a 304, the limits announced.
    async fn documented(&self, mut request: Request) -> Response {
        let client = Client::of(&request, self.trusted_proxies);
        let about = problem::About::of(&request);
        let known = etag::known(&request);
        let head = request.method() == Method::HEAD;
        request.extensions_mut().insert(client.clone());
        let response = match message::host(&request) {
            Ok(()) => self.in_time(request).await,
            Err(problem) => problem.into_response(),
        };
        let response = problem::document(&about, response);
        let mut response = etag::not_modified(known, response);
        client.announce_in(&mut response);
        if head {
            *response.body_mut() = Body::empty();
        }
        response
    }

    /// Ends what takes too long or panics. The panic itself is in the log: the hook of
    /// [`service::telemetry`] wrote it there.
    ///
    /// Where the client is what takes so long, it hears so, and its connection ends: what is left
    /// of its body would be taken for the next request.
    async fn in_time(&self, request: Request) -> Response {
        let (awaited, request) = Awaited::watch(request);
        let answer = AssertUnwindSafe(self.limited(request)).catch_unwind();
        match tokio::time::timeout(self.request_timeout, answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Problem::internal().into_response(),
            Err(_) if awaited.now() => {
                let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
                (StatusCode::REQUEST_TIMEOUT, close).into_response()
            }
            Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }

    /// Lets no body grow past the limit.
    ///
    /// One that is known to be too large is read before it is refused. Most clients send all of it
    /// before they read the answer; to close the connection in the middle would reset it and lose
    /// the 413. One that asks first, by `Expect`, gets the answer at once.
    async fn limited(&self, request: Request) -> Response {
        let announced = request.body().size_hint().lower();
        if announced > self.body_limit as u64 {
            if !request.headers().contains_key(header::EXPECT) && announced <= MOST_READ_AWAY {
                read_away(request.into_body()).await;
            }
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        }
        let limit = |body: Body| {
            if body.is_end_stream() {
                body
            } else {
                Body::new(Limited::new(body, self.body_limit))
            }
        };
        let answer = std::pin::pin!(self.routes.clone().call(request.map(limit)));
        let work = Work::new();
        let Ok(response) = answer.await;
        work.finish();
        response
    }
}

/// Reads a body to its end, or for long enough: that makes no difference to the answer.
fn read_away(mut body: Body) -> BoxFuture<'static, ()> {
    let all = async move { while let Some(Ok(_)) = body.frame().await {} };
    Box::pin(tokio::time::timeout(LONGEST_READ_AWAY, all).map(drop))
}

/// What an answer says unless its handler says otherwise.
fn default_headers(http: &Http) -> Vec<(HeaderName, HeaderValue)> {
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
            HeaderName::from_static("tracestate"),
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

/// A path that does not exist; `*` is the service as a whole, which OPTIONS may ask (RFC 9110, 9.3.7).
async fn elsewhere(method: Method, uri: Uri) -> StatusCode {
    if method == Method::OPTIONS && uri.path() == "*" {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

/// A path that exists, by a method that it does not have. The router adds `Allow`.
async fn other_method(method: Method) -> StatusCode {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::METHOD_NOT_ALLOWED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        body::{Body, to_bytes},
        routing::get,
    };
    use futures_util::{StreamExt as _, stream};
    use service::settings::Environment;

    async fn ask(api: &Api, body: Body) -> Response {
        let request = Request::builder().uri("/").header(header::HOST, "test");
        api.answer(request.body(body).unwrap()).await
    }

    #[tokio::test]
    async fn whoever_is_late_is_named() {
        let mut http = service::settings::Reader::from_pairs([("", "")])
            .read(|reader| Http::read(reader, Environment::Development))
            .unwrap();
        http.request_timeout = Duration::from_millis(50);
        let never = async |_: Bytes| std::future::pending::<StatusCode>().await;
        let requests = Requests::new(&service::metrics::Metrics::new("api", "1"));
        let api = Api::around(Router::new().route("/", get(never)), &http, requests);

        let body = stream::once(async { Ok::<_, Infallible>("the beginning") });
        let body = Body::from_stream(body.chain(stream::pending()));
        let late_client = ask(&api, body).await;
        assert_eq!(late_client.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(late_client.headers()["connection"], "close");
        assert!(!late_client.headers().contains_key(header::RETRY_AFTER));

        for body in [Body::from("all of it"), Body::empty()] {
            let late_handler = ask(&api, body).await;
            assert_eq!(late_handler.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(late_handler.headers()["retry-after"], "2");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_opaque_500() {
        let http = service::settings::Reader::from_pairs([("", "")])
            .read(|reader| Http::read(reader, Environment::Development))
            .unwrap();
        let panics = async || -> StatusCode { panic!("the secret reason") };
        let requests = Requests::new(&service::metrics::Metrics::new("api", "1"));
        let api = Api::around(Router::new().route("/", get(panics)), &http, requests);
        let response = ask(&api, Body::empty()).await;
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
