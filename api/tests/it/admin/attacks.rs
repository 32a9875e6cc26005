//! The ways around the sign-in, none of which leads anywhere.

use axum::http::{Method, StatusCode};
use domain::accounts::{Email, grant_admin, revoke_admin};
use serde_json::Value;

use super::{ADA, Browser, change, cookie, failure, is_sent_away, sign_in, sign_in_from};
use crate::app::{PASSWORD, TestApp};

#[tokio::test]
async fn without_a_session_a_person_is_asked_and_a_script_refused() {
    let app = TestApp::new().await;
    let session = Browser::of_admin(&app, ADA).await;
    for cookie in [
        String::new(),
        "slipway-admin=".to_owned(),
        format!("slipway-admin={}", "A".repeat(43)),
        format!("{}x", session.cookie),
        "slipway-admin='; DROP TABLE sessions".to_owned(),
    ] {
        let stranger = Browser { app: &app, cookie };
        let answer = stranger.get("/admin?a=b&c=d").await;
        is_sent_away(&answer);
        assert_eq!(
            answer.header("location"),
            "./admin/sign-in?next=/admin%3Fa%3Db%26c%3Dd"
        );
        assert!(!answer.text().contains(ADA));
        let answer = stranger
            .with(Method::POST, "/admin/sign-out", &[], "")
            .await;
        assert_eq!(
            answer.expect(StatusCode::SEE_OTHER).header("location"),
            "../admin/sign-in"
        );
        let script = [("sec-fetch-dest", "empty")];
        let answer = stranger.with(Method::GET, "/admin", &script, "").await;
        failure(&answer, StatusCode::FORBIDDEN);
    }
    // An access token is none, not even an admin's.
    let token = app.access_token(ADA, PASSWORD).await;
    is_sent_away(
        &app.call(Method::GET, "/admin", &token, &[], &Value::Null)
            .await,
    );
    let cookie = format!("slipway-admin={token}");
    is_sent_away(&Browser { app: &app, cookie }.get("/admin").await);
    session.get("/admin").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn the_role_is_asked_for_each_time() {
    let app = TestApp::new().await;
    let browser = Browser::of_admin(&app, ADA).await;
    let csrf = browser.csrf().await;
    let (pool, ada) = (&app.database.pool, Email::parse(ADA).unwrap());
    revoke_admin(pool, &ada, true).await.unwrap();
    let html = browser.get("/admin").await;
    assert!(failure(&html, StatusCode::FORBIDDEN).contains("Only admins"));
    let form = format!("csrf={csrf}");
    let answer = browser
        .with(Method::POST, "/admin/sign-out", &[], &form)
        .await;
    failure(&answer, StatusCode::FORBIDDEN);
    // Another admin can sign in on this browser.
    browser.get("/admin/sign-in").await.expect(StatusCode::OK);
    grant_admin(pool, &ada).await.unwrap();
    browser.get("/admin").await.expect(StatusCode::OK);
    change(&app, "DELETE FROM accounts").await;
    is_sent_away(&browser.get("/admin").await);
}

#[tokio::test]
async fn a_form_needs_the_token_of_its_own_session() {
    let app = TestApp::new().await;
    let ada = Browser::of_admin(&app, ADA).await;
    let eve = Browser::of_admin(&app, "eve@example.com").await;
    let (own, hers) = (ada.csrf().await, eve.csrf().await);
    let second = Browser::signed_in(&app, ADA).await.csrf().await;
    assert_eq!(own, ada.csrf().await);
    let (_, secret) = ada.cookie.split_once('=').unwrap();
    for form in [
        String::new(),
        "csrf=".to_owned(),
        format!("csrf={hers}"),
        format!("csrf={second}"),
        format!("csrf={secret}"),
        format!("csrf={}", &own[..42]),
        format!("csrf={own}A"),
        format!("CSRF={own}"),
    ] {
        let answer = ada.with(Method::POST, "/admin/sign-out", &[], &form).await;
        let html = failure(&answer, StatusCode::FORBIDDEN);
        assert!(html.contains("nothing was done"), "{form}: {html}");
    }
    // In the address it would stand in logs, and in JSON another page could send it.
    let path = format!("/admin/sign-out?csrf={own}");
    let answer = ada.with(Method::POST, &path, &[], "").await;
    failure(&answer, StatusCode::FORBIDDEN);
    let twice = format!("csrf={own}&csrf={own}");
    let answer = ada.with(Method::POST, "/admin/sign-out", &[], &twice).await;
    assert!(answer.status.is_client_error(), "{answer:?}");
    ada.get("/admin").await.expect(StatusCode::OK);
    let form = format!("csrf={own}");
    let answer = ada.with(Method::POST, "/admin/sign-out", &[], &form).await;
    answer.expect(StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_another_site_sends_does_nothing() {
    let app = TestApp::new().await;
    let ada = Browser::of_admin(&app, ADA).await;
    let form = format!("csrf={}", ada.csrf().await);
    for foreign in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "http://127.0.0.1:9000"),
        ("origin", "null"),
    ] {
        let answer = ada
            .with(Method::POST, "/admin/sign-out", &[foreign], &form)
            .await;
        let html = failure(&answer, StatusCode::FORBIDDEN);
        assert!(html.contains("another site"), "{foreign:?}: {html}");
        // Nor does it sign anybody in.
        let typed = format!("email={ADA}&password={PASSWORD}");
        let answer = sign_in_from(&app, &[foreign], &typed).await;
        failure(&answer, StatusCode::FORBIDDEN);
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    ada.get("/admin").await.expect(StatusCode::OK);
    for own in [
        ("origin", "http://127.0.0.1:8000"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let typed = format!("email={ADA}&password={PASSWORD}");
        let answer = sign_in_from(&app, &[own], &typed).await;
        answer.expect(StatusCode::SEE_OTHER);
    }
    // A page of another origin may not read ours either.
    let cors = ada
        .with(
            Method::GET,
            "/admin",
            &[("origin", "https://evil.example")],
            "",
        )
        .await;
    assert!(!cors.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn after_the_sign_in_nobody_is_led_elsewhere() {
    let app = TestApp::new().await;
    let browser = Browser::of_admin(&app, ADA).await;
    for (next, place) in [
        ("/admin/jobs/7?state=dead", "../admin/jobs/7?state=dead"),
        ("", "../admin"),
        ("https://evil.example/admin", "../admin"),
        ("//evil.example/admin", "../admin"),
        ("/\\evil.example", "../admin"),
        ("/admin/..//evil.example", "../admin"),
        ("/admin/%2e%2e/docs", "../admin"),
        ("/administrator", "../admin"),
        ("javascript:alert(1)", "../admin"),
        ("/admin\r\nx: y", "../admin"),
    ] {
        let escaped: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = sign_in(&app, ADA, PASSWORD, &escaped).await;
        assert_eq!(
            answer.expect(StatusCode::SEE_OTHER).header("location"),
            place,
            "{next}"
        );
        let known = browser.get(&format!("/admin/sign-in?next={escaped}")).await;
        assert_eq!(known.header("location"), place, "{next}");
        let form = app.get(&format!("/admin/sign-in?next={escaped}")).await;
        let field = format!(r#"name="next" value="{}""#, &place[2..]);
        assert!(
            form.expect(StatusCode::OK).text().contains(&field),
            "{next}"
        );
    }
}

#[tokio::test]
async fn a_cookie_from_before_the_sign_in_opens_nothing_after_it() {
    let app = TestApp::new().await;
    drop(Browser::of_admin(&app, ADA).await);
    let planted = format!("slipway-admin={}", "A".repeat(43));
    let typed = format!("email={ADA}&password={PASSWORD}");
    let answer = sign_in_from(&app, &[("cookie", &planted)], &typed).await;
    answer.expect(StatusCode::SEE_OTHER);
    assert_ne!(cookie(&answer), planted);
    is_sent_away(
        &Browser {
            app: &app,
            cookie: planted,
        }
        .get("/admin")
        .await,
    );
}

#[tokio::test]
async fn every_refusal_is_the_same() {
    let app = TestApp::new().await;
    drop(Browser::of_admin(&app, ADA).await);
    app.verified("bob@example.com").await;
    app.sign_up("new@example.com").await;
    let sessions = "SELECT count(*) FROM sessions";
    let count = async || -> i64 {
        let count = sqlx::query_scalar(sessions).fetch_one(&app.database.pool);
        count.await.unwrap()
    };
    let before = count().await;
    let first = sign_in(&app, "eve@example.com", PASSWORD, "").await;
    let said = first.expect(StatusCode::FORBIDDEN).text();
    assert!(said.contains("No admin has this address and password."));
    for (email, password) in [
        (ADA, "not her password"),
        (ADA, "short"),
        ("bob@example.com", PASSWORD),
        ("bob@example.com", "not his password"),
        ("new@example.com", PASSWORD),
        ("nobody", PASSWORD),
        ("", ""),
    ] {
        let answer = sign_in(&app, email, password, "").await;
        answer.expect(StatusCode::FORBIDDEN);
        assert!(!answer.headers.contains_key("set-cookie"));
        let field = |email: &str| format!(r#"value="{email}""#);
        let page = answer
            .text()
            .replacen(&field(email), &field("eve@example.com"), 1);
        // The field for the next page comes before, and is not empty.
        assert_eq!(page, said, "{email} {password}");
    }
    assert_eq!(count().await, before);
}

#[tokio::test]
async fn what_was_typed_is_text_and_no_markup() {
    let app = TestApp::new().await;
    let typed = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E@example.com";
    let page = sign_in(&app, typed, PASSWORD, "").await;
    let html = page.expect(StatusCode::FORBIDDEN).text();
    assert!(
        !html.contains("<script") && html.contains("script"),
        "{html}"
    );
    let path = format!("/admin/sign-in?next=/admin/{typed}");
    let html = app.get(&path).await;
    assert!(!html.expect(StatusCode::OK).text().contains("<script"));
    let html = app.get("/admin/%3Cscript%3E").await;
    assert!(!failure(&html, StatusCode::NOT_FOUND).contains("<script"));
}
