//! Signing in to the pages for admins, and out.

use api::{limit::Quotas, settings::Settings};
use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use domain::accounts::{Email, grant_admin};
use migrations::testing::database;
use serde_json::Value;
use service::settings::Reader;

use super::{ADA, Browser, change, cookie, failure, is_sent_away, sign_in, sign_in_from};
use crate::app::{Log, PASSWORD, TestApp, pool, request, settings};

#[tokio::test]
async fn an_admin_signs_in_comes_to_the_page_and_signs_out() {
    let app = TestApp::new().await;
    let browser = Browser::of_admin(&app, ADA).await;
    let page = browser.get("/admin").await;
    assert!(page.expect(StatusCode::OK).text().contains(ADA));
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("referrer-policy"), "same-origin");
    let policy = page.header("content-security-policy");
    assert_eq!(
        policy,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
         img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let html = page.text();
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("//"));

    // Who is known already is not asked again.
    let known = browser.get("/admin/sign-in?next=/admin/x").await;
    assert_eq!(
        known.expect(StatusCode::SEE_OTHER).header("location"),
        "../admin/x"
    );

    let out = browser.post("/admin/sign-out", "").await;
    assert_eq!(
        out.expect(StatusCode::SEE_OTHER).header("location"),
        "../admin/sign-in"
    );
    let cookie = out.header("set-cookie");
    assert!(
        cookie.starts_with("slipway-admin=;") && cookie.contains("Max-Age=0"),
        "{cookie}"
    );
    // The browser has forgotten it, and so have we.
    is_sent_away(&browser.get("/admin").await);
}

#[tokio::test]
async fn the_style_sheet_is_for_anybody_and_keeps() {
    let app = TestApp::new().await;
    let page = app.get("/admin/sign-in").await;
    let (_, link) = page
        .text()
        .split_once(r#"rel="stylesheet" href=".."#)
        .unwrap();
    let style = app.get(link.split('"').next().unwrap()).await;
    style.expect(StatusCode::OK);
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    assert!(style.header("cache-control").contains("immutable"));
    // A page of another release asks for its own version, which this is not.
    let other = app.get("/admin/admin.css?v=00000000").await;
    assert_eq!(other.header("cache-control"), "no-cache");
    assert!(!style.text().contains("url(") && !style.text().contains("@import"));
}

#[tokio::test]
async fn the_cookie_is_the_hosts_alone_and_no_scripts() {
    let attributes = "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200";
    for (public_url, name, secure) in [
        ("http://127.0.0.1:8000", "slipway-admin", ""),
        (
            "https://app.example.com",
            "__Host-slipway-admin",
            "; Secure",
        ),
    ] {
        let app = TestApp::with(|settings| settings.http.public_url = public_url.to_owned()).await;
        let browser = Browser::of_admin(&app, ADA).await;
        let answer = sign_in(&app, ADA, PASSWORD, "").await;
        let (pair, rest) = answer.header("set-cookie").split_once("; ").unwrap();
        assert_eq!(rest, format!("{attributes}{secure}"));
        let (named, token) = pair.split_once('=').unwrap();
        assert_eq!((named, token.len()), (name, 43));
        browser.get("/admin").await.expect(StatusCode::OK);
        // The other name opens nothing: over HTTPS, a neighbouring host can set that one.
        let other = if name == "slipway-admin" {
            "__Host-slipway-admin"
        } else {
            "slipway-admin"
        };
        let cookie = format!("{other}={token}");
        is_sent_away(&Browser { app: &app, cookie }.get("/admin").await);
        // It stands in the database as a hash.
        let stored = "SELECT string_agg(c::text, ',') FROM session_cookies c";
        let stored: String = sqlx::query_scalar(stored)
            .fetch_one(&app.database.pool)
            .await
            .unwrap();
        assert!(!stored.contains(token));
    }
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let app = TestApp::new().await;
    let browser = Browser::of_admin(&app, ADA).await;
    let left = "SELECT extract(epoch FROM expires_at - now())::int4 FROM session_cookies";
    let left = async || -> i32 {
        let seconds = sqlx::query_scalar(left).fetch_one(&app.database.pool);
        seconds.await.unwrap()
    };
    assert!((29 * 60..=30 * 60).contains(&left().await));
    // What a script asks for by itself does not count as use; what a person does, does.
    change(
        &app,
        "UPDATE session_cookies SET expires_at = now() + interval '5 minutes'",
    )
    .await;
    let script = [("sec-fetch-dest", "empty")];
    let live = browser.with(Method::GET, "/admin", &script, "").await;
    live.expect(StatusCode::OK);
    assert!(left().await <= 5 * 60);
    browser.get("/admin").await.expect(StatusCode::OK);
    assert!(left().await > 29 * 60);
    // Use does not carry it past its longest time.
    change(
        &app,
        "UPDATE session_cookies SET created_at = now() - interval '11 hours 50 minutes', \
                  expires_at = now() + interval '5 minutes'",
    )
    .await;
    browser.get("/admin").await.expect(StatusCode::OK);
    assert!((9 * 60..=10 * 60).contains(&left().await));
    change(
        &app,
        "UPDATE session_cookies SET expires_at = now() - interval '1 second'",
    )
    .await;
    is_sent_away(&browser.get("/admin").await);
    let purged = domain::sessions::purge_cookies(&app.database.pool, 10).await;
    assert_eq!(purged.unwrap(), 1);
}

#[tokio::test]
async fn it_is_a_session_among_the_others_of_the_account() {
    let app = TestApp::new().await;
    let browser = Browser::of_admin(&app, ADA).await;
    let token = app.access_token(ADA, PASSWORD).await;
    let call = async |method, path: &str| app.call(method, path, &token, &[], &Value::Null).await;
    let listed = call(Method::GET, "/v1/sessions").await.json();
    let sessions = listed["data"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let other = sessions
        .iter()
        .find(|session| session["current"] == false)
        .unwrap();
    let path = format!("/v1/sessions/{}", other["id"].as_str().unwrap());
    call(Method::DELETE, &path)
        .await
        .expect(StatusCode::NO_CONTENT);
    is_sent_away(&browser.get("/admin").await);

    let browser = Browser::signed_in(&app, ADA).await;
    let body = serde_json::json!({ "current_password": PASSWORD, "new_password": "a new horse" });
    let answer = app
        .call(Method::PUT, "/v1/me/password", &token, &[], &body)
        .await;
    answer.expect(StatusCode::NO_CONTENT);
    is_sent_away(&browser.get("/admin").await);

    let answer = sign_in(&app, ADA, "a new horse", "").await;
    let browser = Browser {
        app: &app,
        cookie: cookie(&answer),
    };
    call(Method::DELETE, "/v1/sessions")
        .await
        .expect(StatusCode::NO_CONTENT);
    is_sent_away(&browser.get("/admin").await);
}

#[tokio::test]
async fn attempts_are_counted_with_those_of_programs() {
    let pairs = [("API_LIMITS", "log-in-by-address-and-account=3/900")];
    let quotas = Reader::from_pairs(pairs).read(Quotas::read).unwrap();
    let change = |settings: &mut Settings| settings.limits = quotas;
    let app = TestApp::with(change).await;
    app.verified(ADA).await;
    grant_admin(&app.database.pool, &Email::parse(ADA).unwrap())
        .await
        .unwrap();
    app.log_in(ADA, "a wrong guess")
        .await
        .expect(StatusCode::UNAUTHORIZED);
    for _ in 0..2 {
        let answer = sign_in(&app, ADA, "a wrong guess", "").await;
        answer.expect(StatusCode::FORBIDDEN);
    }
    // The right password makes no difference: it is not looked at.
    let answer = sign_in(&app, ADA, PASSWORD, "").await;
    let html = failure(&answer, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=300).contains(&seconds), "{seconds}");
    assert!(html.contains(&format!("Wait for {seconds} s")), "{html}");
    let answer = app.log_in(ADA, PASSWORD).await;
    answer.problem(StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn errors_below_it_are_pages_and_elsewhere_problems() {
    let app = TestApp::new().await;
    let browser = Browser::of_admin(&app, ADA).await;
    failure(
        &browser.get("/admin/nothing/here").await,
        StatusCode::NOT_FOUND,
    );
    let method = browser.with(Method::DELETE, "/admin", &[], "").await;
    failure(&method, StatusCode::METHOD_NOT_ALLOWED);
    assert!(method.header("allow").contains("GET"));
    let large = "x".repeat(2 * 1024 * 1024);
    let answer = browser
        .with(Method::POST, "/admin/sign-out", &[], &large)
        .await;
    failure(&answer, StatusCode::PAYLOAD_TOO_LARGE);
    let json = request(Method::POST, "/admin/sign-in").header("content-type", "application/json");
    let json = app.send(json.body(Body::from("{}")).unwrap()).await;
    failure(&json, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let missing = sign_in_from(&app, &[], "email=x").await;
    failure(&missing, StatusCode::UNPROCESSABLE_ENTITY);
    app.get("/administrator")
        .await
        .problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn neither_the_password_nor_the_cookie_is_in_a_log() {
    let app = TestApp::new().await;
    drop(Browser::of_admin(&app, ADA).await);
    let log = Log::capture(tracing::Level::TRACE);
    let answer = sign_in(&app, ADA, PASSWORD, "").await;
    let cookie = cookie(&answer);
    let (_, token) = cookie.split_once('=').unwrap();
    Browser {
        app: &app,
        cookie: cookie.clone(),
    }
    .get("/admin")
    .await;
    let lines = log.lines();
    let acts = |line: &String| line.contains("an admin acts");
    assert!(lines.iter().any(acts), "{lines:#?}");
    for line in lines {
        for secret in [PASSWORD, token, ADA] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

#[tokio::test]
async fn without_postgres_it_is_a_page_too() {
    let database = database().await;
    // Nobody listens there.
    let pool = pool(&database, 1);
    let app = TestApp::over(database, pool, queue::testing::settings(), &settings()).await;
    let cookie = format!("slipway-admin={}", "A".repeat(43));
    let answer = Browser { app: &app, cookie }.get("/admin").await;
    failure(&answer, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn actions_are_recorded_and_shown() {
    let app = TestApp::new().await;
    let browser = Browser::of_admin(&app, ADA).await;
    browser.post("/admin/sign-out", "").await;
    let browser = Browser::signed_in(&app, ADA).await;
    let page = browser.get("/admin/actions?limit=2").await;
    let html = page.expect(StatusCode::OK).text();
    let found = ["<td>sign_in</td>", "<td>sign_out</td>", "?cursor="].map(|text| html.find(text));
    assert!(found.is_sorted() && found[0].is_some(), "{html}");
    assert!(html.contains(&format!("<td>{ADA}</td>")), "{html}");
    let (_, cursor) = html.split_once("?cursor=").unwrap();
    let path = format!("/admin/actions?cursor={}", &cursor[..22]);
    let older = browser.get(&path).await;
    let html = older.expect(StatusCode::OK).text();
    assert!(html.contains("<td>sign_in</td>") && !html.contains("sign_out</td>"));
    assert!(!html.contains("?cursor="), "{html}");
    let odd = browser.get("/admin/actions?cursor=x").await;
    assert!(failure(&odd, StatusCode::UNPROCESSABLE_ENTITY).contains("<p>cursor must be"));
    is_sent_away(&app.get("/admin/actions").await);
    // The lines of an account that is gone stay, and do not say whose it was.
    let eve = Browser::of_admin(&app, "eve@example.com").await;
    change(&app, "DELETE FROM accounts WHERE email = 'ada@example.com'").await;
    let page = eve.get("/admin/actions").await;
    let html = page.expect(StatusCode::OK).text();
    assert!(html.contains("a deleted account") && !html.contains(ADA));
}
