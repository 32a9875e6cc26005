//! Limits: who is refused, when, and what answers say about it.

use api::{
    limit::{Policy, Quotas},
    settings::Settings,
};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use service::settings::Reader;

use crate::app::{Answer, Log, PASSWORD, TestApp};

/// With the limits that hold by default but for some, behind one proxy.
async fn limited(limits: &str) -> TestApp {
    let pairs = [("API_LIMITS", limits)];
    let quotas = Reader::from_pairs(pairs).read(Quotas::read).unwrap();
    TestApp::with(|settings: &mut Settings| {
        settings.limits = quotas;
        settings.http.trusted_proxies = 1;
    })
    .await
}

fn is_refused(answer: &Answer) -> bool {
    answer.status == StatusCode::TOO_MANY_REQUESTS
}

/// The document without what no two answers have in common.
fn document(answer: &Answer) -> Value {
    let mut document = answer.problem(StatusCode::TOO_MANY_REQUESTS);
    let seconds = answer.header("retry-after");
    let detail = document["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("{seconds} s")), "{detail}");
    let document = document.as_object_mut().unwrap();
    document.retain(|name, _| name != "request_id" && name != "detail");
    Value::Object(document.clone())
}

#[tokio::test]
async fn a_client_that_guesses_at_many_accounts_is_stopped_and_no_other() {
    let app = limited("").await;
    app.verified("ada@example.com").await;
    for guess in 0..10 {
        let email = format!("victim-{guess}@example.com");
        let answer = app.log_in_from("192.0.2.1", &email, PASSWORD).await;
        answer.expect(StatusCode::UNAUTHORIZED);
        let left = format!("\"log-in-by-address\";r={};t=", 9 - guess);
        assert!(answer.header("ratelimit").starts_with(&left), "{answer:?}");
        let policies = "\"log-in-by-address\";q=10;w=60, \
                        \"log-in-by-address-and-account\";q=10;w=900, \
                        \"log-in-by-account\";q=50;w=3600";
        assert_eq!(answer.header("ratelimit-policy"), policies);
        // Others' log-ins to an account are not the client's affair.
        let quotas = answer.header("ratelimit");
        assert!(!quotas.contains("\"log-in-by-account\""), "{quotas}");
    }
    // The right password makes no difference: it is not looked at.
    let answer = app
        .log_in_from("192.0.2.1", "ada@example.com", PASSWORD)
        .await;
    let document = document(&answer);
    assert_eq!(document["type"], "urn:problem-type:slipway:quota-exceeded");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=6).contains(&seconds), "{seconds}");
    let quota = format!("\"log-in-by-address\";r=0;t={seconds}");
    assert_eq!(answer.header("ratelimit"), quota);
    let answer = app
        .log_in_from("192.0.2.2", "ada@example.com", PASSWORD)
        .await;
    answer.expect(StatusCode::OK);
}

#[tokio::test]
async fn who_fails_on_purpose_locks_only_himself_out() {
    let app = limited("log-in-by-address=1000/60").await;
    app.verified("ada@example.com").await;
    for _ in 0..10 {
        let answer = app
            .log_in_from("192.0.2.1", "Ada@example.com", "a wrong guess")
            .await;
        answer.expect(StatusCode::UNAUTHORIZED);
    }
    for address in ["192.0.2.1", "::ffff:192.0.2.1"] {
        let answer = app.log_in_from(address, "ada@example.com", PASSWORD).await;
        assert!(is_refused(&answer), "{answer:?}");
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=90).contains(&seconds), "{seconds}");
    }
    // Neither another account nor the owner, somewhere else, is touched.
    let other = app
        .log_in_from("192.0.2.1", "eve@example.com", PASSWORD)
        .await;
    other.expect(StatusCode::UNAUTHORIZED);
    let owner = app
        .log_in_from("192.0.2.2", "ada@example.com", PASSWORD)
        .await;
    owner.expect(StatusCode::OK);
}

#[tokio::test]
async fn many_clients_together_guess_no_more_often_than_the_account_allows() {
    let app = limited("log-in-by-account=5/3600").await;
    app.verified("ada@example.com").await;
    let mut refused = Vec::new();
    for email in ["ada@example.com", "nobody@example.com"] {
        for client in 1..=5 {
            let address = format!("2001:db8:{client}::1");
            let answer = app.log_in_from(&address, email, "a wrong guess").await;
            answer.expect(StatusCode::UNAUTHORIZED);
        }
        // Another address of a network that has guessed, and a new one.
        for address in ["2001:db8:1::2", "2001:db8:9::1"] {
            let answer = app.log_in_from(address, email, PASSWORD).await;
            refused.push(document(&answer));
        }
    }
    // Whether there is such an account is not told by how it is refused.
    assert!(
        refused.windows(2).all(|two| two[0] == two[1]),
        "{refused:#?}"
    );
}

#[tokio::test]
async fn addresses_of_one_ipv6_network_share_their_limits() {
    let app = limited("log-in-by-address=2/3600").await;
    for (address, refused) in [
        ("2001:db8::1", false),
        ("2001:db8::ffff:1", false),
        ("2001:db8::2", true),
        ("2001:db8:0:1::2", false),
    ] {
        let answer = app.log_in_from(address, "a@example.com", PASSWORD).await;
        assert_eq!(is_refused(&answer), refused, "{address}");
    }
}

#[tokio::test]
async fn a_refused_attempt_costs_nothing_and_uses_up_nothing() {
    let app = limited("log-in-by-address=1/3600,log-in-by-account=2/3600").await;
    app.verified("ada@example.com").await;
    let guess = async |address| {
        app.log_in_from(address, "ada@example.com", "a wrong guess")
            .await
    };
    guess("192.0.2.1").await.expect(StatusCode::UNAUTHORIZED);
    // Nobody is looked up, and so no password hashed: without accounts it is the same answer.
    let rename = async |statement| {
        let renamed = sqlx::raw_sql(statement).execute(&app.database.pool).await;
        renamed.unwrap();
    };
    rename("ALTER TABLE accounts RENAME TO hidden").await;
    for _ in 0..5 {
        assert!(is_refused(&guess("192.0.2.1").await));
    }
    rename("ALTER TABLE hidden RENAME TO accounts").await;
    // Of the account's two one is left, although there were five more attempts.
    guess("192.0.2.2").await.expect(StatusCode::UNAUTHORIZED);
    assert!(is_refused(&guess("192.0.2.3").await));
}

#[tokio::test]
async fn sign_ups_are_limited_for_a_client_and_for_a_mailbox() {
    let app = limited("sign-up-by-address=2/3600,sign-up-by-account=1/3600").await;
    let answer = app.sign_up("ada@example.com").await;
    answer.expect(StatusCode::ACCEPTED);
    let quotas = answer.header("ratelimit");
    assert!(
        quotas.starts_with("\"sign-up-by-address\";r=1;t="),
        "{quotas}"
    );
    assert!(!quotas.contains("by-account"), "{quotas}");
    assert!(is_refused(&app.sign_up("ADA@example.com").await));
    let answer = app.sign_up("eve@example.com").await;
    answer.expect(StatusCode::ACCEPTED);
    assert!(is_refused(&app.sign_up("third@example.com").await));
    assert_eq!(app.mails().await.len(), 2);
}

#[tokio::test]
async fn tokens_are_limited_wherever_they_are_tried() {
    let app = limited("token-by-address=1/3600").await;
    let body = json!({ "token": "A".repeat(43) });
    let answer = app.post("/v1/accounts/verify", &body).await;
    answer.expect(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(is_refused(&app.post("/v1/accounts/verify", &body).await));
}

#[tokio::test]
async fn what_redis_and_the_log_keep_of_a_client() {
    let app = limited("log-in-by-address=1/3600").await;
    let log = Log::capture(tracing::Level::INFO);
    for _ in 0..2 {
        app.log_in_from("192.0.2.77", "Ada@example.com", PASSWORD)
            .await;
    }
    let lines = log.lines();
    // A line for each answer, and one for the refusal, which names who was refused by what.
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let (refusal, rest): (Vec<_>, Vec<_>) = lines
        .iter()
        .partition(|line| line.contains("refused by a limit"));
    for part in ["log-in-by-address", "192.0.2.77"] {
        assert!(refusal[0].contains(part), "{refusal:?}");
        assert!(!rest.iter().any(|line| line.contains(part)), "{rest:?}");
    }
    let redis = queue::redis::Client::open(queue::testing::redis_url()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("{{{}:limits}}:*", app.namespace);
    let mut keys = queue::redis::cmd("KEYS");
    let keys: Vec<String> = keys.arg(pattern).query_async(&mut redis).await.unwrap();
    assert_eq!(keys.len(), 3, "{keys:?}");
    for key in &keys {
        assert!(!key.contains("192.0.2") && !key.contains("ada"), "{key}");
        let left: i64 = queue::redis::cmd("PTTL")
            .arg(key)
            .query_async(&mut redis)
            .await
            .unwrap();
        assert!(left > 0, "{key} lives for ever");
    }
}

#[test]
fn every_policy_is_documented() {
    let text = include_str!("../../../docs/api.md");
    for policy in Policy::ALL {
        let (name, requests, seconds) = policy.definition();
        let row = format!("| `{name}` | {requests} in {seconds} s |");
        assert!(text.contains(&row), "{row}");
    }
}

#[tokio::test]
async fn nobody_fills_a_mailbox_that_is_not_theirs() {
    let app = limited("mail-by-account=1/3600").await;
    app.verified("ada@example.com").await;
    let before = app.mails().await.len();
    // Whoever asks for resends does not keep the owner from a reset, and whether there is an account
    // makes no difference.
    for email in ["ada@example.com", "nobody@example.com"] {
        let body = json!({ "email": email });
        let reset = app.post("/v1/password-resets", &body).await;
        reset.expect(StatusCode::ACCEPTED);
        assert!(!reset.header("ratelimit").contains("mail-by-account"));
        let resend = app.post("/v1/accounts/verify/resend", &body).await;
        resend.expect(StatusCode::ACCEPTED);
        for path in ["/v1/password-resets", "/v1/accounts/verify/resend"] {
            assert!(is_refused(&app.post(path, &body).await), "{email} {path}");
        }
    }
    assert_eq!(
        app.mails().await.len(),
        before + 2,
        "one reset for each address"
    );
}

#[tokio::test]
async fn who_has_an_access_token_alone_cannot_guess_the_password() {
    let app = limited("").await;
    let token = app.logged_in("ada@example.com").await;
    let guess = async |path: &str, method: Method, body: Value| {
        app.call(method, path, &token, &[], &body).await
    };
    for number in 0..10 {
        let wrong = format!("guess number {number}");
        let answer = match number % 3 {
            0 => guess("/v1/me/delete", Method::POST, json!({ "password": wrong })).await,
            1 => {
                let body = json!({ "current_password": wrong, "new_password": PASSWORD });
                guess("/v1/me/password", Method::PUT, body).await
            }
            _ => {
                let body = json!({ "email": format!("a{number}@example.com"), "password": wrong });
                guess("/v1/me/email", Method::POST, body).await
            }
        };
        answer.expect(StatusCode::FORBIDDEN);
        let left = format!("\"password-by-account\";r={};", 9 - number);
        assert!(answer.header("ratelimit").contains(&left), "{answer:?}");
    }
    let answer = guess(
        "/v1/me/delete",
        Method::POST,
        json!({ "password": PASSWORD }),
    )
    .await;
    assert!(is_refused(&answer), "{answer:?}");
    // The rest of the account is not touched.
    let body = json!({ "name": "Ada" });
    guess("/v1/me", Method::PATCH, body)
        .await
        .expect(StatusCode::OK);
}
