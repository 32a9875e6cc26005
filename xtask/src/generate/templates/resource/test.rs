//! {Things}: made, read, listed, changed, deleted.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::owner::{Owner, ids};

/// What {a thing} is made of.
fn first() -> Value {
    json!({
        //# each
        "FIELD": FIRST,
        //# end
    })
}

/// The same with every field changed.
fn second() -> Value {
    json!({
        //# each
        "FIELD": SECOND,
        //# end
    })
}

/// The path of a new one.
async fn made(owner: &Owner<'_>) -> String {
    let answer = owner.post("/v1/widgets", &first()).await;
    let answer = answer.expect(StatusCode::CREATED);
    answer.header("location").to_owned()
}

#[tokio::test]
async fn what_was_sent_is_shown_and_can_be_changed() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let path = made(&ada).await;
    let shown = ada.get(&path).await.expect(StatusCode::OK).json();
    let changed = ada.patch(&path, &second()).await;
    let changed = changed.expect(StatusCode::OK).json();
    for (field, value) in first().as_object().unwrap() {
        assert_eq!(shown[field], *value, "{field}");
        assert_eq!(changed[field], second()[field], "{field}");
    }
    assert_eq!(ada.get(&path).await.json(), changed);

    // What is absent stays.
    let same = ada.patch(&path, &json!({})).await;
    assert_eq!(
        same.expect(StatusCode::OK).json()["created_at"],
        shown["created_at"]
    );
    ada.delete(&path).await.expect(StatusCode::NO_CONTENT);
    ada.get(&path).await.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_change_needs_the_present_version_where_it_names_one() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let path = made(&ada).await;
    let tag = ada.get(&path).await.header("etag").to_owned();
    let request = ada
        .request(Method::GET, &path)
        .header("if-none-match", &tag);
    let same = ada.send(request, Body::empty()).await;
    assert!(same.expect(StatusCode::NOT_MODIFIED).body.is_empty());

    let request = ada.request(Method::PATCH, &path).header("if-match", &tag);
    let changed = ada.send(request, second().to_string()).await;
    assert_ne!(changed.expect(StatusCode::OK).header("etag"), tag);
    for method in [Method::PATCH, Method::DELETE] {
        let request = ada.request(method, &path).header("if-match", &tag);
        let late = ada.send(request, first().to_string()).await;
        late.problem(StatusCode::PRECONDITION_FAILED);
    }
    assert_eq!(ada.get(&path).await.json(), changed.json());
}

#[tokio::test]
async fn a_list_comes_in_pages_newest_first() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut all = Vec::new();
    for _ in 0..3 {
        let path = made(&ada).await;
        all.insert(0, path.rsplit('/').next().unwrap().to_owned());
    }
    let page = ada.get("/v1/widgets?limit=2").await;
    assert_eq!(ids(&page), all[..2]);
    let cursor = page.json()["next_cursor"].as_str().unwrap().to_owned();
    let path = format!("/v1/widgets?limit=2&cursor={cursor}");
    let page = ada.get(&path).await;
    assert_eq!(ids(&page), all[2..]);
    assert_eq!(page.json()["next_cursor"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_is_told_by_field() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let path = made(&ada).await;
    let wrong = json!({
        //# each
        "FIELD": WRONG,
        //# end
    });
    for answer in [
        ada.post("/v1/widgets", &wrong).await,
        ada.patch(&path, &wrong).await,
    ] {
        let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        let errors = problem["errors"].as_array().unwrap().iter();
        let pointers: Vec<_> = errors
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        let expected = [
            //# each
            "/FIELD",
            //# end
        ];
        assert_eq!(pointers, expected);
    }
    let nothing = ada.post("/v1/widgets", &json!({})).await;
    let problem = nothing.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"][0]["detail"], "is missing");
}

#[tokio::test]
async fn what_is_somebody_elses_is_not_there() {
    let app = TestApp::new().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let eve = Owner::new(&app, "eve@example.com").await;
    let path = made(&ada).await;
    for answer in [
        eve.get(&path).await,
        eve.patch(&path, &second()).await,
        eve.delete(&path).await,
        ada.get("/v1/widgets/01970000-0000-7000-8000-000000000000")
            .await,
        ada.get("/v1/widgets/x").await,
    ] {
        answer.problem(StatusCode::NOT_FOUND);
    }
    assert!(ids(&eve.get("/v1/widgets").await).is_empty());
    app.get("/v1/widgets").await.problem(StatusCode::UNAUTHORIZED);
    assert_eq!(ada.get(&path).await.header("etag"), "\"1\"", "nothing has changed");
}
