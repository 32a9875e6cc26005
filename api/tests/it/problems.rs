//! Every error is a problem document with the request's id.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{Method, StatusCode},
};
use serde_json::json;

use crate::app::{Answer, Log, PASSWORD, TestApp, request};

async fn post(app: &TestApp, content_type: &str, body: impl Into<Body>) -> Answer {
    let request = request(Method::POST, "/v1/accounts").header("content-type", content_type);
    app.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn malformed_json_is_400() {
    let app = TestApp::new().await;
    for body in [
        "",
        "{",
        "{\"email\": \"a\",}",
        "\u{0}",
        "{\"email\": \"\\ud800\"}",
    ] {
        let answer = post(&app, "application/json", body).await;
        answer.problem(StatusCode::BAD_REQUEST);
    }
    // Deeper than any parser should follow.
    let answer = post(&app, "application/json", "[".repeat(60_000)).await;
    answer.problem(StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_answer_does_not_grow_with_the_unknown_fields_of_a_body() {
    // A limit far above the default, so that nothing but the answer itself bounds it.
    let app = TestApp::with(|settings| settings.http.body_limit = 1024 * 1024).await;
    let long = format!(r#"{{"{}":1"#, "\u{e9}/".repeat(2_000));
    let many: String = (0..60_000).map(|n| format!(r#","{n:x}":1"#)).collect();
    let answer = post(&app, "application/json", format!("{long}{many}}}")).await;
    let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.len() < 16 * 1024, "{}", answer.body.len());
    let errors = problem["errors"].as_array().unwrap();
    // Two that are missing, sixteen that are named, and one for all others.
    assert_eq!(errors.len(), 2 + 16 + 1);
    assert_eq!(errors[18]["pointer"], "");
    let rest = "has 59985 more fields that are not of this request";
    assert_eq!(errors[18]["detail"], rest);

    let answer = post(&app, "application/json", format!("{long}}}")).await;
    let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let cut = format!("/{}…", "\u{e9}~1".repeat(32));
    assert_eq!(problem["errors"][2]["pointer"], cut);
}

#[tokio::test]
async fn an_unknown_path_is_404_and_names_itself() {
    let app = TestApp::new().await;
    let problem = app.get("/v1/nothing?here=1").await;
    let problem = problem.problem(StatusCode::NOT_FOUND);
    assert_eq!(problem["instance"], "/v1/nothing");
    assert_eq!(problem["title"], "Not Found");
    assert_eq!(problem["type"], "about:blank");
}

#[tokio::test]
async fn another_method_is_405_with_those_that_are_allowed() {
    let app = TestApp::new().await;
    for (method, path, allow) in [
        (Method::GET, "/v1/accounts/verify", "POST"),
        (Method::DELETE, "/v1/me", "GET,HEAD,PATCH"),
        (Method::PUT, "/verify", "GET,HEAD,POST"),
        (Method::POST, "/readyz", "GET,HEAD"),
    ] {
        let answer = app
            .send(request(method, path).body(Body::empty()).unwrap())
            .await;
        answer.problem(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_whether_its_length_is_told_or_not() {
    let app = TestApp::with(|settings| settings.http.body_limit = 1024).await;
    let large = json!({ "email": "a".repeat(2000) }).to_string();
    let told = request(Method::POST, "/v1/accounts")
        .header("content-type", "application/json")
        .header("content-length", large.len())
        .body(large.clone().into())
        .unwrap();
    app.send(told).await.problem(StatusCode::PAYLOAD_TOO_LARGE);
    let parts: Vec<_> = large
        .as_bytes()
        .chunks(100)
        .map(|part| Ok::<_, std::io::Error>(Bytes::copy_from_slice(part)))
        .collect();
    let stream = Body::from_stream(futures_util::stream::iter(parts));
    let answer = post(&app, "application/json", stream).await;
    answer.problem(StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_that_is_encoded_is_415_and_says_so() {
    let app = TestApp::new().await;
    let form = "application/x-www-form-urlencoded";
    for (path, content_type) in [("/v1/accounts", "application/json"), ("/reset", form)] {
        let ask = async |codings: &[&str]| {
            let mut request = request(Method::POST, path).header("content-type", content_type);
            for coding in codings {
                request = request.header("content-encoding", *coding);
            }
            app.send(request.body("{}".into()).unwrap()).await
        };
        for codings in [&["gzip"][..], &["br"], &["identity", "gzip"]] {
            let answer = ask(codings).await;
            answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
        let answer = ask(&["Identity"]).await;
        answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn another_media_type_is_415() {
    let app = TestApp::new().await;
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "json"] {
        let answer = post(&app, media_type, "{}").await;
        answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let answer = post(&app, "application/json; charset=utf-8", "{}").await;
    answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let timeout = Duration::from_millis(100);
    let app = TestApp::with(|settings| settings.http.request_timeout = timeout).await;
    let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let answer = post(&app, "application/json", Body::from_stream(never)).await;
    let problem = answer.problem(StatusCode::REQUEST_TIMEOUT);
    assert!(problem["detail"].as_str().unwrap().contains("in time"));
    assert_eq!(answer.header("connection"), "close");
}

#[tokio::test]
async fn a_fault_is_an_opaque_500_and_one_log_line_with_all_causes() {
    let app = TestApp::new().await;
    sqlx::query("ALTER TABLE accounts ADD CONSTRAINT nobody_fits CHECK (false) NOT VALID")
        .execute(&app.database.pool)
        .await
        .unwrap();
    let log = Log::capture(tracing::Level::INFO);
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let request = request(Method::POST, "/v1/accounts")
        .header("content-type", "application/json")
        .header("x-request-id", "find-me")
        .body(body.to_string().into())
        .unwrap();
    let answer = app.send(request).await;
    answer.problem(StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.text().contains("nobody_fits") && !answer.text().contains("database"));

    let lines = log.lines();
    let errors: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("\"ERROR\""))
        .collect();
    assert_eq!(errors.len(), 1, "{lines:#?}");
    for part in ["the database cannot be used: ", "nobody_fits", "find-me"] {
        assert!(errors[0].contains(part), "{part:?} is not in {}", errors[0]);
    }
    let logged = lines.join("\n");
    assert!(
        !logged.contains(PASSWORD) && !logged.contains("ada@"),
        "{logged}"
    );
}
