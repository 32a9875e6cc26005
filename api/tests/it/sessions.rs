//! Log-in, refresh, log-out, and the list of sessions.

use api::token::AUDIENCE;
use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use crate::{
    app::{Answer, Log, PASSWORD, TestApp, request},
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

/// What a log-in gives.
async fn logged_in(app: &TestApp, email: &str) -> Value {
    let answer = app.log_in(email, PASSWORD).await;
    answer.expect(StatusCode::OK).json()
}

async fn refresh(app: &TestApp, tokens: &Value) -> Answer {
    let body = json!({ "refresh_token": tokens["refresh_token"] });
    app.post("/v1/sessions/refresh", &body).await
}

/// A request without a body, with the access token.
async fn ask(app: &TestApp, method: Method, path: &str, tokens: &Value) -> Answer {
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let request = request(method, path).header("authorization", bearer);
    app.send(request.body(Body::empty()).unwrap()).await
}

/// The sessions that are listed, newest first.
async fn listed(app: &TestApp, tokens: &Value) -> Vec<Value> {
    let answer = ask(app, Method::GET, "/v1/sessions", tokens).await;
    let list = answer.expect(StatusCode::OK).json();
    list["data"].as_array().unwrap().clone()
}

fn is_refused(answer: &Answer) {
    let problem = answer.problem(StatusCode::UNAUTHORIZED);
    assert_eq!(
        problem["type"],
        "urn:problem-type:slipway:invalid-refresh-token"
    );
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
}

#[tokio::test]
async fn a_refresh_gives_new_tokens_of_the_same_session() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    let first = logged_in(&app, "ada@example.com").await;
    let answer = refresh(&app, &first).await;
    let second = answer.expect(StatusCode::OK).json();
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(second["expires_in"], 900);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let claims = |tokens: &Value| claims(tokens["access_token"].as_str().unwrap());
    for claim in ["sub", "sid"] {
        assert_eq!(claims(&first)[claim], claims(&second)[claim]);
    }
    listed(&app, &second).await;

    for wrong in [
        json!({}),
        json!({ "refresh_token": "short" }),
        json!({ "refresh_token": 1 }),
    ] {
        let answer = app.post("/v1/sessions/refresh", &wrong).await;
        let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["pointer"], "/refresh_token");
    }
}

#[tokio::test]
async fn a_refresh_token_that_comes_again_ends_the_session_and_is_logged() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    let first = logged_in(&app, "ada@example.com").await;
    let second = refresh(&app, &first).await.json();
    let log = Log::capture(tracing::Level::WARN);
    is_refused(&refresh(&app, &first).await);
    is_refused(&refresh(&app, &first).await);
    is_refused(&refresh(&app, &second).await);
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let session = claims(second["access_token"].as_str().unwrap())["sid"].clone();
    let told = lines[0].contains(session.as_str().unwrap()) && lines[0].contains("used twice");
    assert!(told, "{}", lines[0]);
    let token = first["refresh_token"].as_str().unwrap();
    assert!(!lines[0].contains(token));
}

#[tokio::test]
async fn after_a_log_out_nothing_more_comes_of_the_session() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    let here = logged_in(&app, "ada@example.com").await;
    let there = logged_in(&app, "ada@example.com").await;
    let answer = ask(&app, Method::DELETE, "/v1/sessions/current", &here).await;
    answer.expect(StatusCode::NO_CONTENT);
    is_refused(&refresh(&app, &here).await);
    // The access token still holds for a while, but for nothing that outlives it.
    let id = "01970000-0000-7000-8000-000000000000";
    for (method, path) in [
        (Method::GET, "/v1/sessions".to_owned()),
        (Method::DELETE, "/v1/sessions".to_owned()),
        (Method::DELETE, "/v1/sessions/current".to_owned()),
        (Method::DELETE, format!("/v1/sessions/{id}")),
        (Method::POST, "/v1/webhooks".to_owned()),
        (Method::PATCH, format!("/v1/webhooks/{id}")),
        (Method::DELETE, format!("/v1/webhooks/{id}")),
        (Method::POST, format!("/v1/webhooks/{id}/rotate-secret")),
        (Method::POST, format!("/v1/webhooks/{id}/test")),
        (Method::POST, format!("/v1/webhooks/{id}/replay")),
    ] {
        let answer = ask(&app, method, &path, &here).await;
        answer.problem(StatusCode::UNAUTHORIZED);
    }
    assert_eq!(listed(&app, &there).await.len(), 1);
    refresh(&app, &there).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_log_out_everywhere_ends_all_sessions_of_the_account_alone() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    app.verified("eve@example.com").await;
    let others = logged_in(&app, "eve@example.com").await;
    let here = logged_in(&app, "ada@example.com").await;
    let there = logged_in(&app, "ada@example.com").await;
    let answer = ask(&app, Method::DELETE, "/v1/sessions", &here).await;
    answer.expect(StatusCode::NO_CONTENT);
    for tokens in [&here, &there] {
        is_refused(&refresh(&app, tokens).await);
    }
    refresh(&app, &others).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn the_list_tells_sessions_apart_and_each_can_be_ended() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    app.verified("eve@example.com").await;
    let others = logged_in(&app, "eve@example.com").await;
    let here = logged_in(&app, "ada@example.com").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let there = request(Method::POST, "/v1/sessions")
        .header("content-type", "application/json")
        .header("user-agent", "Browser/1.0 \u{fc}");
    let there = app.send(there.body(body.to_string().into()).unwrap()).await;
    let there = there.expect(StatusCode::OK).json();

    let list = listed(&app, &here).await;
    assert_eq!(list.len(), 2);
    assert_eq!(list[0]["user_agent"], "Browser/1.0 \u{fc}");
    assert_eq!(list[1]["user_agent"], "");
    assert_eq!(
        (&list[0]["current"], &list[1]["current"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(list[0]["created_at"], list[0]["last_used_at"]);
    // Page by page it is the same.
    let first = ask(&app, Method::GET, "/v1/sessions?limit=1", &here)
        .await
        .json();
    assert_eq!(first["data"], json!([list[0]]));
    let next = format!(
        "/v1/sessions?limit=1&cursor={}",
        first["next_cursor"].as_str().unwrap()
    );
    let second = ask(&app, Method::GET, &next, &here).await.json();
    assert_eq!(second["data"], json!([list[1]]));
    assert_eq!(second["next_cursor"], Value::Null);

    let path = format!("/v1/sessions/{}", list[0]["id"].as_str().unwrap());
    let answer = ask(&app, Method::DELETE, &path, &others).await;
    answer.problem(StatusCode::NOT_FOUND);
    let end = ask(&app, Method::DELETE, &path, &here).await;
    end.expect(StatusCode::NO_CONTENT);
    is_refused(&refresh(&app, &there).await);
    let again = ask(&app, Method::DELETE, &path, &here).await;
    again.problem(StatusCode::NOT_FOUND);
    assert_eq!(listed(&app, &here).await.len(), 1);
}
