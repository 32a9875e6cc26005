//! The page behind the link of a verification mail.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::app::{Answer, TestApp, request};

async fn click(app: &TestApp, form: String) -> Answer {
    let request = request(Method::POST, "/verify")
        .header("content-type", "application/x-www-form-urlencoded");
    app.send(request.body(form.into()).unwrap()).await
}

#[tokio::test]
async fn following_the_link_uses_nothing_up_and_the_button_verifies() {
    let app = TestApp::new().await;
    app.sign_up("ada@example.com").await;
    let token = app.verification_token("ada@example.com").await;
    for _ in 0..2 {
        let page = app.get(&format!("/verify?token={token}")).await;
        page.expect(StatusCode::OK);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(page.text().contains(&format!(r#"value="{token}""#)));
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
    }
    let page = click(&app, format!("token={token}")).await;
    assert!(page.expect(StatusCode::OK).text().contains("is confirmed"));
    let page = click(&app, format!("token={token}")).await;
    page.expect(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text().contains("used before"));
    let again = app
        .post("/v1/accounts/verify", &json!({ "token": token }))
        .await;
    again.problem(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_policy_allows_the_page_its_own_style_and_nothing_else() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use sha2::{Digest, Sha256};

    let app = TestApp::new().await;
    let page = app.get(&format!("/verify?token={}", "A".repeat(43))).await;
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let html = page.text();
    let style = html.split_once("<style>").unwrap().1;
    let style = style.split_once("</style>").unwrap().0;
    let hash = STANDARD.encode(Sha256::digest(style));
    assert!(
        policy.contains(&format!("style-src 'sha256-{hash}'")),
        "{policy}"
    );
    assert!(!html.contains("<script") && !html.contains(" style="));
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "{html}"
    );
}

#[tokio::test]
async fn what_is_no_token_is_not_shown() {
    let app = TestApp::new().await;
    for query in [
        "",
        "?token=",
        "?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    ] {
        let page = app.get(&format!("/verify{query}")).await;
        page.expect(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.text().contains("incomplete"));
        assert!(!page.text().contains("script") && !page.text().contains("<form"));
    }
    let page = click(&app, "token=%3Cb%3E".to_owned()).await;
    page.expect(StatusCode::UNPROCESSABLE_ENTITY);
    // Not sent by the page: a problem like everywhere.
    let other = click(&app, "other=1".to_owned()).await;
    other.problem(StatusCode::UNPROCESSABLE_ENTITY);
}
