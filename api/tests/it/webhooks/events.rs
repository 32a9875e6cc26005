//! Events, sent once or more often.

use axum::http::{Method, StatusCode};
use domain::jobs::DeliverWebhook;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::owner::{Owner, ids};

const PAID: &str = r#"{"type":"invoice.paid","data":{"invoice":"2026-117"}}"#;

#[tokio::test]
async fn an_event_is_accepted_once_for_each_key() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    ada.endpoint().await;
    let first = ada.event("a", PAID).await;
    assert_eq!(
        first
            .expect(StatusCode::ACCEPTED)
            .header("idempotency-replayed"),
        "false"
    );
    let accepted = first.json();
    assert_eq!(
        (&accepted["type"], &accepted["deliveries"]),
        (&json!("invoice.paid"), &json!(1))
    );
    let again = ada.event("a", PAID).await;
    assert_eq!(
        again
            .expect(StatusCode::ACCEPTED)
            .header("idempotency-replayed"),
        "true"
    );
    assert_eq!(again.body, first.body);

    let other = ada.event("a", PAID.replace("117", "118")).await;
    let other = other.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        other["type"],
        "urn:problem-type:slipway:idempotency-key-reused"
    );
    let eve = Owner::new(&app, "eve@example.com").await;
    let theirs = eve.event("a", PAID).await;
    assert_eq!(theirs.expect(StatusCode::ACCEPTED).json()["deliveries"], 0);

    let jobs = outbox::testing::enqueued::<DeliverWebhook>(&app.database.pool).await;
    assert_eq!(jobs.len(), 1);
}

#[tokio::test]
async fn twenty_at_once_are_one_event() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    ada.endpoint().await;
    let answers = futures_util::future::join_all((0..20).map(|_| ada.event("a", PAID))).await;
    let mut bodies = Vec::new();
    for answer in &answers {
        if answer.status == StatusCode::CONFLICT {
            let kind = answer.problem(StatusCode::CONFLICT)["type"].clone();
            assert_eq!(kind, "urn:problem-type:slipway:idempotency-key-in-flight");
        } else {
            bodies.push(answer.expect(StatusCode::ACCEPTED).json());
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(ids(&ada.get("/v1/events").await).len(), 1);
    let jobs = outbox::testing::enqueued::<DeliverWebhook>(&app.database.pool).await;
    assert_eq!(jobs.len(), 1);
}

#[tokio::test]
async fn what_only_the_service_sends_is_refused() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let ours = ada.event("a", r#"{"type":"webhook.test","data":{}}"#).await;
    let problem = ours.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"][0]["pointer"], "/type");
    // They are listed like any other.
    let listed = ada.get("/v1/events?type=webhook.test").await;
    assert!(ids(&listed).is_empty());
}

#[tokio::test]
async fn a_key_has_a_form_and_comes_once() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let post = || ada.request(Method::POST, "/v1/events");
    for request in [
        post(),
        post().header("idempotency-key", ""),
        post().header("idempotency-key", "a b"),
        post().header("idempotency-key", "\u{e4}"),
        post().header("idempotency-key", "x".repeat(256)),
        post()
            .header("idempotency-key", "a")
            .header("idempotency-key", "a"),
    ] {
        let problem = ada
            .send(request, PAID)
            .await
            .problem(StatusCode::BAD_REQUEST);
        assert_eq!(problem["type"], "urn:problem-type:slipway:idempotency-key");
    }
    let longest = post().header("idempotency-key", "~".repeat(255));
    ada.send(longest, PAID).await.expect(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn data_comes_back_to_the_last_digit() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let data = r#"{"total": 99.90000000000000000001, "n":12345678901234567890123,
        "zero":"\u0000", "e":1E2}"#;
    let sent = ada
        .event(
            "a",
            format!(r#" {{"data":{data} , "type":"invoice.paid"}} "#),
        )
        .await;
    let id = sent.expect(StatusCode::ACCEPTED).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let shown = ada.get(&format!("/v1/events/{id}")).await;
    assert!(
        shown.expect(StatusCode::OK).text().contains(data),
        "{}",
        shown.text()
    );
    assert!(ada.get("/v1/events").await.text().contains(data));
}

#[tokio::test]
async fn what_nobody_could_read_is_refused() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let with = |data: &str| format!(r#"{{"type":"a","data":{data}}}"#);
    let deep = |levels| format!("{}{}{}", r#"{"a":"#.repeat(levels), 1, "}".repeat(levels));
    ada.event("deep", with(&deep(100)))
        .await
        .expect(StatusCode::ACCEPTED);
    for body in [
        with(&deep(200)),
        with(&format!(r#"{{"a":{}}}"#, "[".repeat(30_000))),
        with(&format!(
            r#"{{"a":{}{}}}"#,
            "[".repeat(20_000),
            "]".repeat(20_000)
        )),
        with(r#"{"a":1e400}"#),
        with(r#"{"a":"\ud800"}"#),
        with(r#"{"a":01}"#),
        with(r#"{},"data":{}"#),
        with(r#"{"a":1,"a":2}"#),
        String::new(),
    ] {
        ada.event("a", body).await.problem(StatusCode::BAD_REQUEST);
    }
    let latin = b"{\"type\":\"a\",\"data\":{\"a\":\"\xe4\"}}".to_vec();
    ada.event("a", latin).await.problem(StatusCode::BAD_REQUEST);
    for (body, pointer) in [
        (with("[]"), "/data"),
        (with("null"), "/data"),
        (r#"{"type":"a"}"#.to_owned(), "/data"),
        (r#"{"type":"A b","data":{}}"#.to_owned(), "/type"),
        (r#"{"type":"a","data":{},"id":1}"#.to_owned(), "/id"),
        ("[]".to_owned(), ""),
    ] {
        let answer = ada.event("a", body).await;
        let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    let large = with(&format!(r#"{{"a":"{}"}}"#, "x".repeat(10 << 20)));
    ada.event("a", large)
        .await
        .problem(StatusCode::PAYLOAD_TOO_LARGE);
    // Nothing of all this has used the key up.
    ada.event("a", PAID).await.expect(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn events_are_listed_by_type() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut sent = Vec::new();
    for kind in ["invoice.paid", "user.left", "invoice.paid"] {
        let body = json!({ "type": kind, "data": {} }).to_string();
        let answer = ada.event(&format!("key-{}", sent.len()), body).await;
        sent.insert(0, answer.json()["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids(&ada.get("/v1/events").await), sent);
    let page = ada.get("/v1/events?type=invoice.paid&limit=1").await;
    assert_eq!(ids(&page), sent[..1]);
    let cursor = page.json()["next_cursor"].as_str().unwrap().to_owned();
    let page = ada
        .get(&format!("/v1/events?type=invoice.paid&cursor={cursor}"))
        .await;
    assert_eq!(ids(&page), sent[2..]);
    assert_eq!(page.json()["next_cursor"], Value::Null);
    let problem = ada.get("/v1/events?type=A").await;
    let problem = problem.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"][0]["parameter"], "type");
}
