//! Deliveries: listed, shown, replayed.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::owner::{Owner, ids};

/// As the worker leaves a delivery that it has given up.
async fn fail_all(app: &TestApp) {
    sqlx::query(
        "UPDATE webhook_deliveries SET state = 'failed', attempts = 11, attempted_at = now(),
             duration_ms = 12, response_status = 500, response_body = 'Sorry', error = 'status 500',
             next_attempt_at = NULL",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_delivery_shows_its_last_attempt_and_is_replayed() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let path = ada.endpoint().await;
    let mut events = Vec::new();
    for key in ["a", "b"] {
        let sent = ada.event(key, r#"{"type":"invoice.paid","data":{}}"#).await;
        events.push(sent.json()["id"].as_str().unwrap().to_owned());
    }
    let list = format!("{path}/deliveries");
    let all = ids(&ada.get(&list).await);
    assert_eq!(all.len(), 2);
    let pending = ada.get(&format!("{list}/{}", all[0])).await;
    let pending = pending.expect(StatusCode::OK).json();
    assert_eq!(
        (&pending["state"], &pending["attempts"]),
        (&json!("pending"), &json!(0))
    );
    assert_eq!(
        (&pending["response_body"], &pending["error"]),
        (&Value::Null, &Value::Null)
    );

    fail_all(&app).await;
    let failed = ada.get(&format!("{list}/{}", all[1])).await.json();
    assert_eq!(failed["event_id"], events[0]);
    assert_eq!(
        (&failed["state"], &failed["attempts"]),
        (&json!("failed"), &json!(11))
    );
    assert_eq!(
        (&failed["response_status"], &failed["duration_ms"]),
        (&json!(500), &json!(12))
    );
    assert_eq!(failed["response_body"], "Sorry");

    let replay = format!("{list}/{}/replay", all[1]);
    for _ in 0..2 {
        ada.post(&replay, &json!({}))
            .await
            .expect(StatusCode::ACCEPTED);
    }
    let of = async |query: &str| ids(&ada.get(&format!("{list}?{query}")).await);
    assert_eq!(of("state=pending").await, all[1..]);
    assert_eq!(of("state=failed").await, all[..1]);
    assert_eq!(of(&format!("event_id={}", events[0])).await, all[1..]);
    assert!(
        of(&format!("event_id={}&state=failed", events[0]))
            .await
            .is_empty()
    );
    assert_eq!(of("limit=1").await, all[..1]);
    for (query, name) in [
        ("state=lost", "state"),
        ("event_id=x", "event_id"),
        ("limit=x", "limit"),
    ] {
        let answer = ada.get(&format!("{list}?{query}")).await;
        let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["parameter"], name);
    }
}

#[tokio::test]
async fn all_that_failed_is_replayed_and_a_disabled_endpoint_is_told_of_nothing() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let path = ada.endpoint().await;
    for key in ["a", "b", "c"] {
        ada.event(key, r#"{"type":"invoice.paid","data":{}}"#).await;
    }
    fail_all(&app).await;
    let since = json!({ "since": "2026-01-01T00:00:00+01:00" });
    let replay = format!("{path}/replay");
    for expected in [3, 0] {
        let replayed = ada.post(&replay, &since).await;
        let expected = json!({ "deliveries": expected, "more": false });
        assert_eq!(replayed.expect(StatusCode::ACCEPTED).json(), expected);
    }
    for wrong in [
        "yesterday",
        "2026-01-01",
        "2026-02-30T00:00:00Z",
        // Beyond the last year that there is, in UTC.
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T12:00:00-23:59",
    ] {
        let problem = ada.post(&replay, &json!({ "since": wrong })).await;
        let problem = problem.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["pointer"], "/since");
    }
    for odd in [
        "0000-01-01T00:00:00Z",
        "0000-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999999Z",
        "9999-12-31T23:59:59+23:59",
    ] {
        let replayed = ada.post(&replay, &json!({ "since": odd })).await;
        replayed.expect(StatusCode::ACCEPTED);
    }

    let sent = ada.post(&format!("{path}/test"), &json!({})).await;
    let sent = sent.expect(StatusCode::ACCEPTED).json();
    let event = ada
        .get(&format!(
            "/v1/events/{}",
            sent["event_id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(event.expect(StatusCode::OK).json()["type"], "webhook.test");
    let delivery = sent["delivery_id"].as_str().unwrap();
    let delivery = format!("{path}/deliveries/{delivery}");
    ada.get(&delivery).await.expect(StatusCode::OK);

    ada.patch(&path, &json!({ "enabled": false }))
        .await
        .expect(StatusCode::OK);
    for answer in [
        ada.post(&replay, &since).await,
        ada.post(&format!("{path}/test"), &json!({})).await,
        ada.post(&format!("{delivery}/replay"), &json!({})).await,
    ] {
        let problem = answer.problem(StatusCode::CONFLICT);
        assert_eq!(problem["type"], "urn:problem-type:slipway:webhook-disabled");
    }
}
