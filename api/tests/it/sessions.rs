//! Log-in, access tokens, and the account that they open.

use api::token::{AUDIENCE, Claims};
use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, PASSWORD, TestApp, request, settings};

async fn me(app: &TestApp, authorization: &str) -> Answer {
    let request = request(Method::GET, "/v1/me").header("authorization", authorization);
    app.send(request.body(Body::empty()).unwrap()).await
}

/// The claims of a token, without a check.
fn claims(token: &str) -> Claims {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn signed(algorithm: Algorithm, claims: &impl serde::Serialize) -> String {
    let key = settings().auth.jwt_secret.expose_secret().to_owned();
    let key = EncodingKey::from_secret(key.as_bytes());
    encode(&Header::new(algorithm), claims, &key).unwrap()
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
    assert_eq!(
        (claims.iss.as_str(), claims.aud.as_str()),
        ("http://127.0.0.1:8000", AUDIENCE)
    );
    assert_eq!(claims.exp - claims.iat, 900);

    // The scheme's name is written in any case (RFC 9110, section 11.1).
    for scheme in ["Bearer", "bearer"] {
        let account = me(&app, &format!("{scheme} {token}")).await;
        let account = account.expect(StatusCode::OK).json();
        assert_eq!(account["id"], claims.sub.to_string());
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

#[tokio::test]
async fn tokens_that_we_did_not_sign_for_this_use_are_refused() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    let tokens = app.log_in("ada@example.com", PASSWORD).await.json();
    let good = tokens["access_token"].as_str().unwrap().to_owned();
    let claims = claims(&good);
    let changed = |change: fn(&mut Claims)| {
        let mut changed = claims.clone();
        change(&mut changed);
        signed(Algorithm::HS256, &changed)
    };
    // The helper itself makes tokens that are taken, or the list below would prove nothing.
    let own = format!("Bearer {}", changed(|_| {}));
    me(&app, &own).await.expect(StatusCode::OK);

    let (rest, signature) = good.rsplit_once('.').unwrap();
    let payload = rest.split('.').nth(1).unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let mut two_audiences: Value = serde_json::to_value(&claims).unwrap();
    two_audiences["aud"] = json!([AUDIENCE, "somebody else"]);
    let mut no_audience = serde_json::to_value(&claims).unwrap();
    no_audience.as_object_mut().unwrap().remove("aud");
    let other_key = EncodingKey::from_secret(b"Another key, and a long enough one, too.");
    let refused = [
        ("alg none", format!("{none}.{payload}.")),
        (
            "alg none, old signature",
            format!("{none}.{payload}.{signature}"),
        ),
        ("HS512", signed(Algorithm::HS512, &claims)),
        ("HS384", signed(Algorithm::HS384, &claims)),
        (
            "another key",
            encode(&Header::default(), &claims, &other_key).unwrap(),
        ),
        ("no signature", format!("{rest}.")),
        (
            "expired",
            changed(|c| {
                c.iat -= 3600;
                c.exp = get_current_timestamp() - 10;
            }),
        ),
        ("from the future", changed(|c| c.iat += 3600)),
        (
            "another audience",
            changed(|c| c.aud = "slipway-admin".to_owned()),
        ),
        ("two audiences", signed(Algorithm::HS256, &two_audiences)),
        ("no audience", signed(Algorithm::HS256, &no_audience)),
        (
            "another issuer",
            changed(|c| c.iss = "http://elsewhere.test".to_owned()),
        ),
        (
            "an account that is gone",
            changed(|c| c.sub = Uuid::new_v4()),
        ),
        ("nothing", String::new()),
        ("nonsense", "a.b.c".to_owned()),
    ];
    for (what, token) in refused {
        let answer = me(&app, &format!("Bearer {token}")).await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{what}: {answer:?}"
        );
        answer.problem(StatusCode::UNAUTHORIZED);
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    me(&app, &format!("Basic {good}"))
        .await
        .problem(StatusCode::UNAUTHORIZED);
    app.get("/v1/me").await.problem(StatusCode::UNAUTHORIZED);
}
