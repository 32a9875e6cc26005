//! Forgotten passwords, and mails that did not arrive: the API and the page.

use axum::http::{Method, StatusCode};
use domain::{
    accounts::{Email, issue_password_reset},
    jobs::{Mail, ResendVerification},
};
use serde_json::json;

use crate::{
    app::{Answer, PASSWORD, TestApp, request},
    me::assert_alike,
};

const ADA: &str = "ada@example.com";
const NEW: &str = "battery staple horse";

impl TestApp {
    /// A token as the worker would put it into the mail.
    async fn reset_token(&self, email: &str) -> String {
        let email = Email::parse(email).unwrap();
        let issued = issue_password_reset(&self.database.pool, &email).await;
        issued.unwrap().unwrap().token.expose().to_owned()
    }

    async fn type_in(&self, token: &str, password: &str) -> Answer {
        let form = format!("token={token}&password={}", password.replace(' ', "+"));
        let request = request(Method::POST, "/reset")
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(form.into()).unwrap()).await
    }
}

#[tokio::test]
async fn a_reset_and_a_resend_are_answered_alike_for_every_address() {
    for path in ["/v1/password-resets", "/v1/accounts/verify/resend"] {
        let app = TestApp::new().await;
        app.verified(ADA).await;
        app.sign_up("new@example.com").await;
        let mut answers = Vec::new();
        for email in [
            ADA,
            "ADA@Example.com",
            "new@example.com",
            "nobody@example.com",
        ] {
            let answer = app.post(path, &json!({ "email": email })).await;
            answer.expect(StatusCode::ACCEPTED);
            answers.push(answer);
        }
        assert_alike(&answers);
        let pool = &app.database.pool;
        let asked = if path.ends_with("resend") {
            let jobs = outbox::testing::enqueued::<ResendVerification>(pool).await;
            jobs.into_iter().map(|job| job.job.email).collect()
        } else {
            let mails = app.templates().await.into_iter();
            let resets = mails.filter(|(_, mail)| *mail == Mail::ResetPassword);
            resets.map(|(to, _)| to).collect::<Vec<_>>()
        };
        assert_eq!(
            asked,
            [
                ADA,
                "ADA@Example.com",
                "new@example.com",
                "nobody@example.com"
            ]
        );
    }
}

#[tokio::test]
async fn a_token_of_the_mail_buys_a_new_password_once() {
    let app = TestApp::new().await;
    app.verified(ADA).await;
    let refresh = app.log_in(ADA, PASSWORD).await.json()["refresh_token"].clone();
    let token = app.reset_token(ADA).await;
    let complete = async |password: &str| {
        let body = json!({ "token": token, "password": password });
        app.post("/v1/password-resets/complete", &body).await
    };
    let short = complete("short")
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(short["errors"][0]["pointer"], "/password");
    complete(NEW).await.expect(StatusCode::NO_CONTENT);
    app.log_in(ADA, PASSWORD)
        .await
        .problem(StatusCode::UNAUTHORIZED);
    app.log_in(ADA, NEW).await.expect(StatusCode::OK);
    let pool = &app.database.pool;
    let token_of_thief = domain::Token::parse(refresh.as_str().unwrap()).unwrap();
    let refreshed = domain::sessions::refresh(pool, &token_of_thief, "").await;
    assert!(refreshed.is_err(), "{refreshed:?}");

    let again = complete("a third password").await;
    let again = again.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let kind = "urn:problem-type:slipway:invalid-reset-token";
    assert_eq!(again["type"], kind);
    let body = json!({ "token": "A".repeat(43), "password": NEW });
    let unknown = app.post("/v1/password-resets/complete", &body).await;
    assert_eq!(
        unknown.problem(StatusCode::UNPROCESSABLE_ENTITY)["type"],
        kind
    );
}

#[tokio::test]
async fn no_token_does_what_another_is_for() {
    let app = TestApp::new().await;
    app.sign_up(ADA).await;
    let (verify, reset) = (
        app.verification_token(ADA).await,
        app.reset_token(ADA).await,
    );
    for token in [&verify, &reset] {
        let body = json!({ "token": token });
        let change = app.post("/v1/email-changes/complete", &body).await;
        change.problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let crossed = app
        .post("/v1/accounts/verify", &json!({ "token": reset }))
        .await;
    crossed.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let body = json!({ "token": verify, "password": NEW });
    let crossed = app.post("/v1/password-resets/complete", &body).await;
    crossed.problem(StatusCode::UNPROCESSABLE_ENTITY);
    app.log_in(ADA, NEW).await.problem(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_page_asks_for_the_password_and_changes_it() {
    let app = TestApp::new().await;
    app.verified(ADA).await;
    let token = app.reset_token(ADA).await;
    for _ in 0..2 {
        let page = app.get(&format!("/reset?token={token}")).await;
        page.expect(StatusCode::OK);
        assert!(page.text().contains(&format!(r#"value="{token}""#)));
        assert!(page.text().contains(r#"autocomplete="new-password""#));
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(!page.text().contains("<script"));
    }
    let short = app.type_in(&token, "short").await;
    short.expect(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(short.text().contains("must be at least 8 characters long"));
    assert!(short.text().contains("<form") && !short.text().contains("value=\"short\""));
    let done = app.type_in(&token, NEW).await;
    assert!(
        done.expect(StatusCode::OK)
            .text()
            .contains("Your password is changed")
    );
    assert!(!done.text().contains("<form"));
    app.log_in(ADA, NEW).await.expect(StatusCode::OK);
    let again = app.type_in(&token, NEW).await;
    again.expect(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(again.text().contains("used before") && !again.text().contains("<form"));
}

#[tokio::test]
async fn the_page_takes_no_password_that_log_in_would_not() {
    let app = TestApp::new().await;
    app.verified(ADA).await;
    let token = app.reset_token(ADA).await;
    let null = app.type_in(&token, "battery%00staple").await;
    null.expect(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        null.text()
            .contains("must not contain the character U+0000")
    );
    for no_text in ["battery%ffstaple", "battery%ed%a0%80staple", "battery%c3"] {
        let answer = app.type_in(&token, no_text).await;
        answer.problem(StatusCode::BAD_REQUEST);
    }
    app.log_in(ADA, PASSWORD).await.expect(StatusCode::OK);
    let text = app
        .type_in(&token, "b%C3%A4ttery%20st%F0%9F%90%8Eple+%")
        .await;
    text.expect(StatusCode::OK);
    app.log_in(ADA, "bättery st🐎ple %")
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn the_pages_show_nothing_that_is_no_token() {
    let app = TestApp::new().await;
    for page in ["/reset", "/email"] {
        for query in [
            "",
            "?token=",
            "?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        ] {
            let shown = app.get(&format!("{page}{query}")).await;
            shown.expect(StatusCode::UNPROCESSABLE_ENTITY);
            assert!(shown.text().contains("incomplete"));
            assert!(!shown.text().contains("script") && !shown.text().contains("<form"));
        }
    }
    let strange = app.type_in("%3Cb%3E", NEW).await;
    strange.expect(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(strange.text().contains("incomplete"));
    let unknown = app.type_in(&"A".repeat(43), NEW).await;
    assert!(
        unknown
            .expect(StatusCode::UNPROCESSABLE_ENTITY)
            .text()
            .contains("not known")
    );
}

#[tokio::test]
async fn the_page_of_a_new_address_asks_for_a_click() {
    let app = TestApp::new().await;
    let token = app.logged_in(ADA).await;
    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    let asked = app
        .call(Method::POST, "/v1/me/email", &token, &[], &body)
        .await;
    asked.expect(StatusCode::ACCEPTED);
    let link = app.email_change_token().await;
    let page = app.get(&format!("/email?token={link}")).await;
    assert!(
        page.expect(StatusCode::OK)
            .text()
            .contains(r#"action="email""#)
    );
    let click = async || {
        let request = request(Method::POST, "/email")
            .header("content-type", "application/x-www-form-urlencoded");
        app.send(request.body(format!("token={link}").into()).unwrap())
            .await
    };
    assert!(
        click()
            .await
            .expect(StatusCode::OK)
            .text()
            .contains("is changed")
    );
    app.log_in("ada@example.org", PASSWORD)
        .await
        .expect(StatusCode::OK);
    let again = click().await;
    assert!(
        again
            .expect(StatusCode::UNPROCESSABLE_ENTITY)
            .text()
            .contains("used before")
    );
}
