//! What every answer has, and the methods that no handler is written for.

use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode},
};
use serde_json::json;

use crate::app::{Log, TestApp, request};

#[tokio::test]
async fn an_id_that_is_harmless_is_kept_and_any_other_replaced() {
    let app = TestApp::new().await;
    let id_of = async |given: &str| {
        let request = request(Method::GET, "/livez").header("x-request-id", given);
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        answer.header("x-request-id").to_owned()
    };
    assert_eq!(id_of("My-Id_1.2").await, "My-Id_1.2");
    for given in ["", "a b", "<b>", &"x".repeat(129)] {
        let id = id_of(given).await;
        assert!(
            uuid::Uuid::parse_str(&id).is_ok(),
            "{given:?} became {id:?}"
        );
    }
}

#[tokio::test]
async fn a_request_is_one_line_with_its_route_and_its_ids() {
    let app = TestApp::new().await;
    let log = Log::capture(tracing::Level::INFO);
    let request = request(Method::GET, "/verify?token=do-not-log-me")
        .header("x-request-id", "r-1")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .body(Body::empty())
        .unwrap();
    app.send(request).await;
    app.get("/livez").await;
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for part in [
        r#""request.id":"r-1""#,
        r#""trace.id":"0af7651916cd43dd8448eb211c80319c""#,
        r#""http.method":"GET""#,
        r#""http.route":"/verify""#,
        r#""http.status":422"#,
        "latency_ms",
    ] {
        assert!(lines[0].contains(part), "{part} is not in {}", lines[0]);
    }
    assert!(!lines[0].contains("do-not-log-me"));
}

#[tokio::test]
async fn a_fault_has_its_ids_even_where_only_errors_are_logged() {
    let app = TestApp::new().await;
    sqlx::query("ALTER TABLE accounts ADD CONSTRAINT nobody_fits CHECK (false) NOT VALID")
        .execute(&app.database.pool)
        .await
        .unwrap();
    let log = Log::capture(tracing::Level::ERROR);
    let id = app
        .sign_up("ada@example.com")
        .await
        .header("x-request-id")
        .to_owned();
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(&id), "{}", lines[0]);
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let app = TestApp::new().await;
    for path in ["/", "/livez", "/verify?token=x"] {
        let get = app.get(path).await;
        let head = request(Method::HEAD, path).body(Body::empty()).unwrap();
        let head = app.send(head).await;
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

#[tokio::test]
async fn options_of_an_unknown_path_is_404() {
    let app = TestApp::new().await;
    let options = request(Method::OPTIONS, "/nothing")
        .body(Body::empty())
        .unwrap();
    app.send(options).await.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn answers_forbid_what_an_api_never_needs() {
    let app = TestApp::new().await;
    for answer in [app.get("/").await, app.get("/nothing").await] {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        assert!(!answer.headers.contains_key("strict-transport-security"));
    }
    let app = TestApp::with(|settings| settings.http.public_url = "https://app.test".into()).await;
    let answer = app.get("/").await;
    assert_eq!(
        answer.header("strict-transport-security"),
        "max-age=31536000"
    );
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_can_read_them() {
    let app = TestApp::new().await;
    let request = request(Method::GET, "/").header("accept-encoding", "gzip");
    let zipped = app.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    let plain = app.get("/").await;
    assert!(zipped.body.len() < plain.body.len());
    // Whoever keeps one must not give it to those who read only the other.
    for answer in [zipped, plain] {
        let mut vary = answer.headers.get_all("vary").iter();
        assert!(vary.any(|value| value == "accept-encoding"), "{answer:?}");
    }
}

#[tokio::test]
async fn no_way_of_asking_for_a_compression_is_an_error() {
    let app = TestApp::new().await;
    for encodings in [
        "identity;q=0",
        "*;q=0",
        "gzip;q=0, identity;q=0",
        "br",
        "",
        "?",
    ] {
        let request = request(Method::GET, "/").header("accept-encoding", encodings);
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        answer.expect(StatusCode::OK);
        assert!(
            !answer.headers.contains_key("content-encoding"),
            "{encodings}"
        );
        assert_eq!(answer.json()["name"], "slipway");
    }
}

#[tokio::test]
async fn only_listed_origins_may_call_from_a_browser() {
    let friend = "https://app.test";
    let app = TestApp::with(|settings| settings.http.cors_origins = vec![friend.into()]).await;
    let preflight = async |origin: &str| -> HeaderMap {
        let request = request(Method::OPTIONS, "/v1/sessions")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        assert!(answer.status.is_success());
        answer.headers
    };
    let allowed = preflight(friend).await;
    assert_eq!(allowed["access-control-allow-origin"], friend);
    let headers = allowed["access-control-allow-headers"].to_str().unwrap();
    assert!(headers.contains("content-type") && headers.contains("authorization"));
    let refused = preflight("https://evil.test").await;
    assert!(!refused.contains_key("access-control-allow-origin"));

    // Errors too, or a page could not read what went wrong.
    let request = request(Method::POST, "/v1/sessions")
        .header("origin", friend)
        .header("content-type", "application/json")
        .body(json!({}).to_string().into())
        .unwrap();
    let answer = app.send(request).await;
    answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.header("access-control-allow-origin"), friend);
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("x-request-id")
    );
}
