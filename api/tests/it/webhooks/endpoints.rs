//! Endpoints: made, read, changed, deleted.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::owner::{Owner, ids};

#[tokio::test]
async fn a_secret_is_shown_once_and_rotated() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let body = json!({ "url": "https://Example.com/hooks", "event_types": ["invoice.*"] });
    let made = ada.post("/v1/webhooks", &body).await;
    let path = made
        .expect(StatusCode::CREATED)
        .header("location")
        .to_owned();
    assert_eq!(made.header("etag"), "\"1\"");
    let made = made.json();
    assert_eq!(
        path,
        format!("/v1/webhooks/{}", made["id"].as_str().unwrap())
    );
    assert_eq!(made["url"], "https://example.com/hooks");
    assert_eq!(made["description"], "");
    assert_eq!(made["event_types"], json!(["invoice.*"]));
    assert_eq!(
        (&made["enabled"], &made["disabled_reason"]),
        (&json!(true), &Value::Null)
    );
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"));

    let shown = ada.get(&path).await;
    assert!(!shown.text().contains("whsec_"), "{}", shown.text());
    let list = ada.get("/v1/webhooks").await;
    assert!(!list.text().contains("whsec_"), "{}", list.text());

    let rotated = ada.post(&format!("{path}/rotate-secret"), &json!({})).await;
    let rotated = rotated.expect(StatusCode::OK).json();
    assert_ne!(rotated["secret"], secret);
    assert!(rotated["old_secret_until"].is_string());
    assert_eq!(ada.get(&path).await.header("etag"), "\"2\"");
}

#[tokio::test]
async fn a_change_needs_the_present_version_where_it_names_one() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let path = ada.endpoint().await;
    let shown = ada.get(&path).await;
    let tag = shown.expect(StatusCode::OK).header("etag").to_owned();
    let request = ada
        .request(Method::GET, &path)
        .header("if-none-match", &tag);
    let same = ada.send(request, Body::empty()).await;
    assert!(same.expect(StatusCode::NOT_MODIFIED).body.is_empty());

    let changed = ada
        .patch(&path, &json!({ "description": "Bills", "enabled": false }))
        .await;
    let changed = changed.expect(StatusCode::OK).json();
    assert_eq!(
        (&changed["description"], &changed["enabled"]),
        (&json!("Bills"), &json!(false))
    );
    assert_eq!(changed["disabled_reason"], "owner");
    assert_eq!(changed["url"], shown.json()["url"]);
    for method in [Method::PATCH, Method::DELETE] {
        let request = ada.request(method, &path).header("if-match", &tag);
        let late = ada.send(request, "{}").await;
        late.problem(StatusCode::PRECONDITION_FAILED);
    }
    let request = ada
        .request(Method::PATCH, &path)
        .header("if-match", "\"2\"");
    let changed = ada.send(request, r#"{"enabled":true}"#).await;
    assert_eq!(changed.expect(StatusCode::OK).header("etag"), "\"3\"");
    assert_eq!(changed.json()["disabled_at"], Value::Null);

    // What changes nothing is no new version.
    let before = changed.json();
    let same = json!({ "description": "Bills", "enabled": true, "url": before["url"] });
    for nothing in [json!({}), same] {
        let unchanged = ada.patch(&path, &nothing).await;
        assert_eq!(unchanged.expect(StatusCode::OK).header("etag"), "\"3\"");
        assert_eq!(unchanged.json(), before);
    }

    let request = ada
        .request(Method::DELETE, &path)
        .header("if-match", "\"3\"");
    ada.send(request, Body::empty())
        .await
        .expect(StatusCode::NO_CONTENT);
    ada.delete(&path).await.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_wrong_is_told_by_field() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let wrong = json!({
        "url": "ftp://example.com/", "description": "x".repeat(257),
        "event_types": ["invoice.*", "*", 1], "secret": "mine", "enabled": false,
    });
    let problem = ada.post("/v1/webhooks", &wrong).await;
    let problem = problem.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let errors = problem["errors"].as_array().unwrap().iter();
    let pointers: Vec<_> = errors
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    let expected = [
        "/url",
        "/description",
        "/event_types/1",
        "/event_types/2",
        "/enabled",
        "/secret",
    ];
    assert_eq!(pointers, expected);

    let path = ada.endpoint().await;
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://a:b@c.de/",
        "https://a..b/",
    ] {
        for answer in [
            ada.post("/v1/webhooks", &json!({ "url": url })).await,
            ada.patch(&path, &json!({ "url": url })).await,
        ] {
            let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(problem["errors"][0]["pointer"], "/url", "{url}");
        }
    }
    let nulls = json!({ "url": null, "description": null, "event_types": null, "enabled": null });
    let problem = ada.patch(&path, &nulls).await;
    let problem = problem.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 4);
    // Nobody sets these: not the owner, and not by any name.
    for field in [
        "id",
        "account_id",
        "version",
        "secret",
        "disabled_reason",
        "failing_since",
    ] {
        let answer = ada.patch(&path, &json!({ field: "x" })).await;
        let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"));
    }
    assert_eq!(ada.get(&path).await.header("etag"), "\"1\"");
}

#[tokio::test]
async fn private_targets_are_taken_where_a_setting_allows_them() {
    let app = TestApp::with(|settings| settings.webhooks.allow_private = true).await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let body = json!({ "url": "http://127.0.0.1:9000/" });
    ada.post("/v1/webhooks", &body)
        .await
        .expect(StatusCode::CREATED);
}

#[tokio::test]
async fn what_is_somebody_elses_is_not_there() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let eve = Owner::new(&app, "eve@example.com").await;
    let path = ada.endpoint().await;
    ada.event("a", r#"{"type":"invoice.paid","data":{}}"#).await;
    let delivery = ids(&ada.get(&format!("{path}/deliveries")).await).remove(0);
    let event = ids(&ada.get("/v1/events").await).remove(0);
    let since = json!({ "since": "2026-01-01T00:00:00Z" });
    let nobodys = "/v1/webhooks/01970000-0000-7000-8000-000000000000".to_owned();
    for (client, path) in [
        (&eve, &path),
        (&ada, &nobodys),
        (&ada, &"/v1/webhooks/x".to_owned()),
    ] {
        for answer in [
            client.get(path).await,
            client.patch(path, &json!({ "enabled": false })).await,
            client.delete(path).await,
            client
                .post(&format!("{path}/rotate-secret"), &json!({}))
                .await,
            client.post(&format!("{path}/test"), &json!({})).await,
            client.post(&format!("{path}/replay"), &since).await,
            client.get(&format!("{path}/deliveries")).await,
            client.get(&format!("{path}/deliveries/{delivery}")).await,
            client
                .post(&format!("{path}/deliveries/{delivery}/replay"), &json!({}))
                .await,
        ] {
            answer.problem(StatusCode::NOT_FOUND);
        }
    }
    eve.get(&format!("/v1/events/{event}"))
        .await
        .problem(StatusCode::NOT_FOUND);
    ada.get("/v1/events/x").await.problem(StatusCode::NOT_FOUND);
    assert!(ids(&eve.get("/v1/webhooks").await).is_empty());
    assert!(ids(&eve.get("/v1/events").await).is_empty());
    assert_eq!(
        ada.get(&path).await.header("etag"),
        "\"1\"",
        "nothing has changed"
    );
}

#[tokio::test]
async fn a_list_comes_in_pages_newest_first() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let path = ada.endpoint().await;
        made.insert(0, path.rsplit('/').next().unwrap().to_owned());
    }
    let first = ada.get("/v1/webhooks?limit=2").await;
    assert_eq!(ids(&first), made[..2]);
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    let last = ada
        .get(&format!("/v1/webhooks?limit=2&cursor={cursor}"))
        .await;
    assert_eq!(ids(&last), made[2..]);
    assert_eq!(last.json()["next_cursor"], Value::Null);
    for query in ["limit=0", "limit=101", "cursor=x", "page=1"] {
        let answer = ada.get(&format!("/v1/webhooks?{query}")).await;
        let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        let name = query.split('=').next().unwrap();
        assert_eq!(problem["errors"][0]["parameter"], name);
    }
}

#[tokio::test]
async fn an_account_has_only_so_many() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    for _ in 0..50 {
        ada.endpoint().await;
    }
    let body = json!({ "url": "https://example.com/" });
    let problem = ada.post("/v1/webhooks", &body).await;
    let problem = problem.problem(StatusCode::CONFLICT);
    assert_eq!(
        problem["type"],
        "urn:problem-type:slipway:too-many-webhooks"
    );
}
