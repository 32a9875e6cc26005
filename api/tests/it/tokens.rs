//! Access tokens: what opens an account, and what is forged, stale or meant for others.

use api::{settings::Settings, token::AUDIENCE};
use axum::http::{Method, StatusCode};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Validation, crypto::sign, decode, get_current_timestamp,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::{PASSWORD, TestApp, pool, request, settings},
    sessions::me,
};

/// The claims of a token, without a check.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header or the claims of a token.
fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// An object of the parts, some of them changed; null removes one.
fn with(original: &Value, changes: &Value) -> Value {
    let mut changed = original.as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        changed.insert(name.clone(), value.clone());
    }
    changed.retain(|_, value| !value.is_null());
    changed.into()
}

/// A token of any header and any claims, signed with the service's key.
///
/// An object is written with its fields in the order of the alphabet, as the service does.
fn signed(algorithm: Algorithm, header: &Value, claims: &Value) -> String {
    let key = settings().auth.jwt_secrets[0].clone();
    signed_with(key.expose_secret(), algorithm, header, claims)
}

fn signed_with(secret: &str, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// Logs in and gives the access token.
async fn token(app: &TestApp) -> String {
    let tokens = app.log_in("ada@example.com", PASSWORD).await.json();
    tokens["access_token"].as_str().unwrap().to_owned()
}

async fn status(app: &TestApp, token: &str) -> StatusCode {
    me(app, &format!("Bearer {token}")).await.status
}

#[tokio::test]
async fn a_token_is_one_that_any_library_reads() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    let token = token(&app).await;
    let key = DecodingKey::from_secret(settings().auth.jwt_secrets[0].expose_secret().as_bytes());
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&[AUDIENCE]);
    rules.set_issuer(&["http://127.0.0.1:8000"]);
    let read = decode::<Value>(&token, &key, &rules).unwrap();
    assert_eq!(read.claims, claims(&token));
    assert_eq!(read.header.typ.as_deref(), Some("JWT"));
    assert_eq!(read.header.kid.unwrap().len(), 8);
    let mut names: Vec<_> = read.claims.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "sid", "sub"]);
}

#[tokio::test]
async fn tokens_that_we_did_not_sign_for_this_use_are_refused() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    let good = token(&app).await;
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let hs256 = |changes: Value| signed(Algorithm::HS256, &header, &with(&claims, &changes));
    let other_header = |algorithm, changes: Value| {
        let changed = with(&header, &changes);
        signed(algorithm, &changed, &claims)
    };
    // The helper makes tokens that are taken, or the list below would prove nothing.
    assert_eq!(status(&app, &hs256(json!({}))).await, StatusCode::OK);
    assert_eq!(status(&app, &good).await, StatusCode::OK);
    assert_eq!(
        status(&app, &hs256(json!({ "more": 1 }))).await,
        StatusCode::OK
    );

    let now = get_current_timestamp();
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let (_, payload) = rest.split_once('.').unwrap();
    let unsigned = |alg: &str| {
        let header = with(&header, &json!({ "alg": alg })).to_string();
        format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header))
    };
    let others = with(&claims, &json!({ "sub": Uuid::now_v7() })).to_string();
    let tampered = rest.replace(payload, &URL_SAFE_NO_PAD.encode(others));
    let mut refused = vec![
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg none, old signature", unsigned("none") + signature),
        (
            "HS384",
            other_header(Algorithm::HS384, json!({ "alg": "HS384" })),
        ),
        (
            "HS512",
            other_header(Algorithm::HS512, json!({ "alg": "HS512" })),
        ),
        (
            "HS512 that calls itself HS256",
            other_header(Algorithm::HS512, json!({})),
        ),
        // The confusion of a public key with a secret: an HMAC under the name of RSA.
        (
            "RS256",
            other_header(Algorithm::HS256, json!({ "alg": "RS256" })),
        ),
        (
            "no algorithm",
            other_header(Algorithm::HS256, json!({ "alg": null })),
        ),
        (
            "no kid",
            other_header(Algorithm::HS256, json!({ "kid": null })),
        ),
        (
            "unknown kid",
            other_header(Algorithm::HS256, json!({ "kid": "00000000" })),
        ),
        (
            "kid of a file",
            other_header(Algorithm::HS256, json!({ "kid": "../../dev/null" })),
        ),
        (
            "a key of its own",
            other_header(Algorithm::HS256, json!({ "jwk": { "kty": "oct" } })),
        ),
        (
            "a critical field",
            other_header(Algorithm::HS256, json!({ "crit": ["exp"] })),
        ),
        (
            "another type",
            other_header(Algorithm::HS256, json!({ "typ": "at+jwt" })),
        ),
        (
            "another key under our kid",
            signed_with(
                "Another key, and a long enough one, too.",
                Algorithm::HS256,
                &header,
                &claims,
            ),
        ),
        (
            "an empty key",
            signed_with("", Algorithm::HS256, &header, &claims),
        ),
        (
            "claims that were changed",
            format!("{tampered}.{signature}"),
        ),
        ("no signature", format!("{rest}.")),
        ("no signature, no dot", rest.to_owned()),
        ("half a signature", good[..good.len() - 20].to_owned()),
        ("a padded signature", format!("{good}=")),
        ("a fourth part", format!("{good}.{signature}")),
        (
            "expired",
            hs256(json!({ "iat": now - 3600, "exp": now - 10 })),
        ),
        ("issued in the future", hs256(json!({ "iat": now + 60 }))),
        ("not yet valid", hs256(json!({ "nbf": now + 60 }))),
        ("end as a text", hs256(json!({ "exp": "9999999999" }))),
        ("end beyond numbers", hs256(json!({ "exp": 1e300 }))),
        ("another audience", hs256(json!({ "aud": "slipway-admin" }))),
        (
            "two audiences",
            hs256(json!({ "aud": [AUDIENCE, "somebody else"] })),
        ),
        (
            "another issuer",
            hs256(json!({ "iss": "http://elsewhere.test" })),
        ),
        (
            "an account that is none",
            hs256(json!({ "sub": "ada@example.com" })),
        ),
        (
            "an account that is gone",
            hs256(json!({ "sub": Uuid::now_v7() })),
        ),
        (
            "claims that are no object",
            signed(Algorithm::HS256, &header, &json!([1, 2])),
        ),
        (
            "a huge token",
            hs256(json!({ "more": "x".repeat(100_000) })),
        ),
        ("huge nonsense", "a".repeat(100_000)),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("nonsense", "a.b.c".to_owned()),
    ];
    for claim in ["iss", "aud", "sub", "sid", "iat", "exp"] {
        refused.push((claim, hs256(json!({ claim: null }))));
    }
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
    for authorization in [format!("Basic {good}"), good.clone(), "Bearer".to_owned()] {
        me(&app, &authorization)
            .await
            .problem(StatusCode::UNAUTHORIZED);
    }
    app.get("/v1/me").await.problem(StatusCode::UNAUTHORIZED);
}

/// The same database behind a service with other keys.
async fn restarted(app: TestApp, keys: &[&str]) -> TestApp {
    let TestApp { database, .. } = app;
    let pool = pool(&database, database.options.get_port());
    let mut settings: Settings = settings();
    settings.auth.jwt_secrets = keys.iter().map(|key| SecretString::from(*key)).collect();
    TestApp::over(database, pool, queue::testing::settings(), &settings).await
}

#[tokio::test]
async fn keys_are_changed_without_logging_anybody_out() {
    const OLD: &str = "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T";
    const NEW: &str = "Vb7Kq2Xw9Lm4Zt6Rn8Yc3Hd5Jf0Gs1Pa";
    let app = restarted(TestApp::new().await, &[OLD]).await;
    app.verified("ada@example.com").await;
    let of_old = token(&app).await;

    let app = restarted(app, &[NEW, OLD]).await;
    let of_new = token(&app).await;
    assert_ne!(part(&of_new, 0)["kid"], part(&of_old, 0)["kid"]);
    for token in [&of_old, &of_new] {
        assert_eq!(status(&app, token).await, StatusCode::OK);
    }
    // A kid chooses its own key alone.
    let claims = part(&of_old, 1);
    let crossed = signed_with(OLD, Algorithm::HS256, &part(&of_new, 0), &claims);
    assert_eq!(status(&app, &crossed).await, StatusCode::UNAUTHORIZED);

    // Replicas are replaced one by one: one that still signs with the old key meets tokens of the
    // new one, which it knows already.
    let app = restarted(app, &[OLD, NEW]).await;
    assert_eq!(part(&token(&app).await, 0)["kid"], part(&of_old, 0)["kid"]);
    assert_eq!(status(&app, &of_new).await, StatusCode::OK);

    let app = restarted(app, &[NEW]).await;
    assert_eq!(status(&app, &of_new).await, StatusCode::OK);
    assert_eq!(status(&app, &of_old).await, StatusCode::UNAUTHORIZED);
}

/// A body that an operation takes, as far as the examples in the document make one.
fn example(operation: &Value) -> Option<Value> {
    let document = api::openapi::document();
    let body = &operation["requestBody"]["content"]["application/json"];
    let schema = body["schema"]["$ref"].as_str()?.strip_prefix('#')?;
    let schema = document.pointer(schema)?;
    if let Some(example) = schema.get("example") {
        return Some(example.clone());
    }
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|one| *one == name));
    let fields = schema["properties"].as_object()?.iter();
    let fields = fields.filter_map(|(name, field)| {
        let example = field.get("example").or_else(|| field["examples"].get(0));
        // What must be there and has no example is a time or an object.
        let other = is_required(name).then(|| match field["format"].as_str() {
            Some("date-time") => json!("2026-01-01T00:00:00Z"),
            _ => json!({}),
        });
        Some((name.clone(), example.cloned().or(other)?))
    });
    Some(fields.collect())
}

#[tokio::test]
async fn the_token_of_an_account_that_is_gone_gets_nothing_and_changes_nothing() {
    let app = TestApp::new().await;
    app.verified("ada@example.com").await;
    let token = token(&app).await;
    sqlx::query("DELETE FROM accounts")
        .execute(&app.database.pool)
        .await
        .unwrap();
    let paths = api::openapi::document()["paths"].as_object().unwrap();
    let mut asked = 0;
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            if !operation["security"].is_array() {
                continue;
            }
            asked += 1;
            let mut somewhere = path.clone();
            while let (Some(from), Some(to)) = (somewhere.find('{'), somewhere.find('}')) {
                somewhere.replace_range(from..=to, "01970000-0000-7000-8000-000000000000");
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let what = format!("{method} {path}");
            let request = request(method, &somewhere)
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json")
                .header("idempotency-key", Uuid::now_v7().to_string());
            let body = example(operation).map(|body| body.to_string());
            let answer = app.send(request.body(body.unwrap_or_default().into()).unwrap());
            let answer = answer.await;
            match answer.status {
                StatusCode::OK => assert_eq!(answer.json()["data"], json!([]), "{what}"),
                status => assert!(
                    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND),
                    "{what}: {answer:?}"
                ),
            }
        }
    }
    assert!(asked >= 5);
}
