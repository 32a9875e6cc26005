//! Sign-up and the proof of the address.

use axum::http::{Method, StatusCode};
use domain::jobs::{Mail, SendEmail};
use outbox::testing::assert_enqueued;
use serde_json::json;

use crate::app::{PASSWORD, TestApp, request};

#[tokio::test]
async fn every_address_gets_the_same_answer_and_a_mail() {
    let app = TestApp::new().await;
    let new = app.sign_up("ada@example.com").await;
    let again = app.sign_up("ADA@example.com").await;
    app.verified("eve@example.com").await;
    let known = app.sign_up("eve@example.com").await;
    for answer in [&new, &again, &known] {
        answer.expect(StatusCode::ACCEPTED);
        assert_eq!(answer.body, new.body);
        let names = |answer: &crate::app::Answer| {
            let names: Vec<_> = answer.headers.keys().cloned().collect();
            names
        };
        assert_eq!(names(answer), names(&new));
    }

    let mails: Vec<_> = app.mails().await.into_iter().map(|mail| mail.job).collect();
    assert_eq!(mails.len(), 4, "one each");
    assert_eq!(mails[0].to, "ada@example.com");
    assert!(matches!(mails[0].template, Mail::VerifyAddress { .. }));
    assert!(matches!(mails[1].template, Mail::VerifyAddress { .. }));
    assert_eq!(mails[3].template, Mail::AlreadyRegistered);
}

#[tokio::test]
async fn all_wrong_fields_are_told_at_once() {
    let app = TestApp::new().await;
    let body = json!({ "email": "ada", "password": "short", "a/b~c": 1 });
    let problem = app.post("/v1/accounts", &body).await;
    let problem = problem.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["type"], "urn:problem-type:slipway:invalid-fields");
    let expected = json!([
        { "pointer": "/email", "detail": "must be an e-mail address like name@example.com" },
        { "pointer": "/password", "detail": "must be at least 8 characters long" },
        { "pointer": "/a~1b~0c", "detail": "is not a field of this request" },
    ]);
    assert_eq!(problem["errors"], expected);

    let body = json!({ "email": ["ada@example.com"] });
    let problem = app.post("/v1/accounts", &body).await;
    let expected = json!([
        { "pointer": "/email", "detail": "must be a text, not an array" },
        { "pointer": "/password", "detail": "is missing" },
    ]);
    let problem = problem.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"], expected);

    let problem = app.post("/v1/accounts", &json!("ada")).await;
    let problem = problem.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"][0]["pointer"], "");
    assert!(app.mails().await.is_empty());
}

#[tokio::test]
async fn the_mail_belongs_to_the_trace_of_the_request() {
    let app = TestApp::new().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let request = request(Method::POST, "/v1/accounts")
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .body(body.to_string().into())
        .unwrap();
    app.send(request).await.expect(StatusCode::ACCEPTED);
    let mail = |mail: &SendEmail| mail.to == "ada@example.com";
    let mail = assert_enqueued(&app.database.pool, mail).await;
    let carried = mail.envelope.traceparent.as_deref().unwrap();
    assert!(carried.starts_with(&format!("00-{trace}-")), "{carried}");
    assert!(!carried.contains("b7ad6b7169203331"), "a part of its own");
}

#[tokio::test]
async fn a_token_proves_the_address_once() {
    let app = TestApp::new().await;
    app.sign_up("ada@example.com").await;
    let token = app.verification_token("ada@example.com").await;
    let body = json!({ "token": token });
    let answer = app.post("/v1/accounts/verify", &body).await;
    assert!(answer.expect(StatusCode::NO_CONTENT).body.is_empty());

    let again = app.post("/v1/accounts/verify", &body).await;
    let again = again.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let kind = "urn:problem-type:slipway:invalid-verification-token";
    assert_eq!(again["type"], kind);
    assert!(again["detail"].as_str().unwrap().contains("used before"));

    let unknown = json!({ "token": "A".repeat(43) });
    let unknown = app.post("/v1/accounts/verify", &unknown).await;
    let unknown = unknown.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(unknown["type"], kind);

    let malformed = app
        .post("/v1/accounts/verify", &json!({ "token": "x" }))
        .await;
    let malformed = malformed.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(malformed["errors"][0]["pointer"], "/token");
}
