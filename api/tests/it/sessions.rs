//! Log-in, refresh, log-out, and the list of sessions.

use api::token::AUDIENCE;
use axum::{
    body::Body,
    http::{Method, StatusCode},
};

use crate::{
    app::{Answer, PASSWORD, TestApp, request},
    tokens::claims,
};

pub(crate) async fn me(app: &TestApp, authorization: &str) -> Answer {
    let request = request(Method::GET, "/v1/me").header("authorization", authorization);
    app.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_log_in_opens_the_own_account() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    let answer = app.log_in("Ada@Example.com", PASSWORD).await;
    let tokens = answer.expect(StatusCode::OK).json();
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 900);
    assert_eq!(tokens["refresh_token"].as_str().unwrap().len(), 43);
    assert_eq!(answer.header("cache-control"), "no-store");

    let token = tokens["access_token"].as_str().unwrap();
    let claims = claims(token);
    assert_eq!(claims["iss"], "http://127.0.0.1:8000");
    assert_eq!(claims["aud"], AUDIENCE);
    let time = |name: &str| claims[name].as_u64().unwrap();
    assert_eq!(time("exp") - time("iat"), 900);

    // The scheme's name is written in any case (RFC 9110, section 11.1).
    for scheme in ["Bearer", "bearer"] {
        let account = me(&app, &format!("{scheme} {token}")).await;
        let account = account.expect(StatusCode::OK).json();
        assert_eq!(account["id"], claims["sub"]);
        assert_eq!(account["email"], "ada@example.com");
        assert_eq!(account["verified"], true);
        assert!(account["created_at"].as_str().unwrap().ends_with('Z'));
    }
}

#[tokio::test]
async fn every_refused_log_in_is_told_alike() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    let wrong = app.log_in("ada@example.com", "not her password").await;
    let unknown = app.log_in("eve@example.com", "not her password").await;
    // A stranger who signs up with an address knows that password. If the answer differed from
    // that for a known address, it would tell which addresses have an account.
    app.sign_up("ada@example.com").await;
    app.sign_up("new@example.com").await;
    let known = app.log_in("ada@example.com", "of the stranger").await;
    let unverified = app.log_in("new@example.com", PASSWORD).await;
    let without_id = |answer: &Answer| {
        let mut problem = answer.problem(StatusCode::UNAUTHORIZED);
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    let first = without_id(&wrong);
    assert_eq!(first["type"], "urn:problem-type:slipway:wrong-credentials");
    assert!(first["detail"].as_str().unwrap().contains("not verified"));
    for answer in [&wrong, &unknown, &known, &unverified] {
        assert_eq!(without_id(answer), first);
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
}
