//! The caller's own account: the profile, the password, the address, and the end.

use axum::http::{Method, StatusCode};
use domain::{
    accounts::{EmailChange, issue_email_change},
    jobs::Mail,
};
use serde_json::{Value, json};

use crate::app::{Answer, PASSWORD, TestApp, request};

const ADA: &str = "ada@example.com";
const NEW: &str = "battery staple horse";

impl TestApp {
    /// An access token of a verified account.
    pub(crate) async fn logged_in(&self, email: &str) -> String {
        self.verified(email).await;
        self.access_token(email, PASSWORD).await
    }

    pub(crate) async fn access_token(&self, email: &str, password: &str) -> String {
        let answer = self.log_in(email, password).await;
        let tokens = answer.expect(StatusCode::OK).json();
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    /// A request with an access token, and with a body unless it is null.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut request = request(method, path).header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => String::new(),
            body => {
                request = request.header("content-type", "application/json");
                body.to_string()
            }
        };
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn me(&self, token: &str) -> Answer {
        self.call(Method::GET, "/v1/me", token, &[], &Value::Null)
            .await
    }

    /// The templates of the mails that wait, oldest first, with their receivers.
    pub(crate) async fn templates(&self) -> Vec<(String, Mail)> {
        let mails = self.mails().await.into_iter();
        mails.map(|mail| (mail.job.to, mail.job.template)).collect()
    }

    /// The token of the newest mail to a new address.
    pub(crate) async fn email_change_token(&self) -> String {
        let change = self
            .templates()
            .await
            .into_iter()
            .rev()
            .find_map(|(_, mail)| match mail {
                Mail::ConfirmNewAddress { email_change_id } => Some(email_change_id),
                _ => None,
            });
        let issued = issue_email_change(&self.database.pool, change.unwrap()).await;
        match issued.unwrap() {
            Some(EmailChange::Confirm { token, .. }) => token.expose().to_owned(),
            other => panic!("{other:?}"),
        }
    }
}

#[track_caller]
fn assert_wrong_password(answer: &Answer, pointer: &str) {
    let problem = answer.problem(StatusCode::FORBIDDEN);
    assert_eq!(problem["type"], "urn:problem-type:slipway:wrong-password");
    assert_eq!(problem["errors"][0]["pointer"], pointer);
}

#[tokio::test]
async fn the_profile_is_changed_in_the_version_that_was_seen() {
    let app = TestApp::new().await;
    let token = app.logged_in(ADA).await;
    let seen = app.me(&token).await;
    let account = seen.expect(StatusCode::OK).json();
    assert_eq!(
        (&account["name"], &account["role"]),
        (&json!(""), &json!("member"))
    );
    let tag = seen.header("etag").to_owned();
    assert!(tag.len() > 32, "{tag}: of this account and of no other");
    let known = [("if-none-match", &*tag)];
    let unchanged = app
        .call(Method::GET, "/v1/me", &token, &known, &Value::Null)
        .await;
    unchanged.expect(StatusCode::NOT_MODIFIED);

    let patch = async |headers: &[(&str, &str)], body: Value| {
        app.call(Method::PATCH, "/v1/me", &token, headers, &body)
            .await
    };
    let renamed = patch(&[("if-match", &tag)], json!({ "name": "Ada" })).await;
    assert_eq!(renamed.expect(StatusCode::OK).json()["name"], "Ada");
    assert_ne!(renamed.header("etag"), tag);
    let late = patch(&[("if-match", &tag)], json!({ "name": "Eve" })).await;
    late.problem(StatusCode::PRECONDITION_FAILED);
    // The first version of somebody else's, as a client may have it that has changed accounts.
    let other = format!("\"{}-2\"", "0".repeat(32));
    let other = patch(&[("if-match", &other)], json!({ "name": "Eve" })).await;
    other.problem(StatusCode::PRECONDITION_FAILED);
    let weak = format!("W/{}", renamed.header("etag"));
    let weak = patch(&[("if-match", &weak)], json!({ "name": "Eve" })).await;
    weak.problem(StatusCode::PRECONDITION_FAILED);
    let nothing = patch(&[], json!({})).await;
    assert_eq!(
        nothing.expect(StatusCode::OK).header("etag"),
        renamed.header("etag")
    );
    assert_eq!(app.me(&token).await.json()["name"], "Ada");
    let cleared = patch(&[("if-match", "*")], json!({ "name": "" })).await;
    assert_eq!(cleared.expect(StatusCode::OK).json()["name"], "");
}

#[tokio::test]
async fn nothing_but_the_profile_can_be_assigned() {
    let app = TestApp::new().await;
    let token = app.logged_in(ADA).await;
    let before = app.me(&token).await.json();
    let values = json!({
        "role": "admin", "verified": true, "email": "eve@example.com", "version": 7,
        "password_hash": "$argon2id$", "created_at": "2020-01-01T00:00:00Z",
        "id": "018f0000-0000-7000-8000-000000000000",
    });
    for (field, value) in values.as_object().unwrap() {
        let body = json!({ "name": "Ada", field: value });
        let answer = app.call(Method::PATCH, "/v1/me", &token, &[], &body).await;
        let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"));
    }
    for name in [
        json!(null),
        json!(1),
        json!("a\nb"),
        json!("a\u{0}"),
        json!("x".repeat(101)),
    ] {
        let body = json!({ "name": name });
        let answer = app.call(Method::PATCH, "/v1/me", &token, &[], &body).await;
        let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["pointer"], "/name");
    }
    assert_eq!(app.me(&token).await.json(), before);
}

#[tokio::test]
async fn a_new_password_needs_the_present_one_and_ends_the_other_sessions() {
    let app = TestApp::new().await;
    let token = app.logged_in(ADA).await;
    let other = app.log_in(ADA, PASSWORD).await.json();
    let change = async |token: &str, current: &str| {
        let body = json!({ "current_password": current, "new_password": NEW });
        app.call(Method::PUT, "/v1/me/password", token, &[], &body)
            .await
    };
    assert_wrong_password(
        &change(&token, "not the password").await,
        "/current_password",
    );
    app.log_in(ADA, PASSWORD).await.expect(StatusCode::OK);
    change(&token, PASSWORD)
        .await
        .expect(StatusCode::NO_CONTENT);
    app.log_in(ADA, PASSWORD)
        .await
        .problem(StatusCode::UNAUTHORIZED);
    app.log_in(ADA, NEW).await.expect(StatusCode::OK);
    let told = (ADA.to_owned(), Mail::PasswordChanged);
    assert_eq!(app.templates().await.pop(), Some(told));
    // The session that did it goes on; of the other not even the access token does this.
    change(&token, NEW).await.expect(StatusCode::NO_CONTENT);
    let ended = other["access_token"].as_str().unwrap();
    change(ended, NEW).await.problem(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn another_address_is_confirmed_by_its_own_mail() {
    let app = TestApp::new().await;
    let token = app.logged_in(ADA).await;
    let ask = async |password: &str| {
        let body = json!({ "email": "ada@example.org", "password": password });
        app.call(Method::POST, "/v1/me/email", &token, &[], &body)
            .await
    };
    assert_wrong_password(&ask("not the password").await, "/password");
    ask(PASSWORD).await.expect(StatusCode::ACCEPTED);
    assert_eq!(app.me(&token).await.json()["email"], ADA);
    let confirm = json!({ "token": app.email_change_token().await });
    let confirmed = app.post("/v1/email-changes/complete", &confirm).await;
    confirmed.expect(StatusCode::NO_CONTENT);
    assert_eq!(app.me(&token).await.json()["email"], "ada@example.org");
    app.log_in("ada@example.org", PASSWORD)
        .await
        .expect(StatusCode::OK);
    let again = app.post("/v1/email-changes/complete", &confirm).await;
    let again = again.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let kind = "urn:problem-type:slipway:invalid-email-change-token";
    assert_eq!(again["type"], kind);
}

#[tokio::test]
async fn whether_another_address_is_taken_is_not_told() {
    let app = TestApp::new().await;
    app.verified("eve@example.com").await;
    let token = app.logged_in(ADA).await;
    let mut answers = Vec::new();
    for email in ["eve@example.com", "free@example.com"] {
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = app
            .call(Method::POST, "/v1/me/email", &token, &[], &body)
            .await;
        answer.expect(StatusCode::ACCEPTED);
        answers.push(answer);
    }
    assert_alike(&answers);

    // Taken between the mail and the click: whoever has both mailboxes may know.
    let confirm = json!({ "token": app.email_change_token().await });
    app.verified("free@example.com").await;
    let late = app.post("/v1/email-changes/complete", &confirm).await;
    let late = late.problem(StatusCode::CONFLICT);
    assert_eq!(late["type"], "urn:problem-type:slipway:address-taken");
}

/// The answers differ in nothing but the request's id and the time.
#[track_caller]
pub(crate) fn assert_alike(answers: &[Answer]) {
    let comparable = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.remove("x-request-id");
        // What is left of a limit counts the requests of this test, not what they found.
        headers.remove("ratelimit");
        (answer.status, headers, answer.body.clone())
    };
    for answer in answers {
        assert_eq!(comparable(answer), comparable(&answers[0]));
    }
}

#[tokio::test]
async fn an_account_is_deleted_with_its_password() {
    let app = TestApp::new().await;
    let token = app.logged_in(ADA).await;
    let end = async |body: Value| {
        app.call(Method::POST, "/v1/me/delete", &token, &[], &body)
            .await
    };
    end(json!({}))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_wrong_password(
        &end(json!({ "password": "not the password" })).await,
        "/password",
    );
    app.me(&token).await.expect(StatusCode::OK);
    end(json!({ "password": PASSWORD }))
        .await
        .expect(StatusCode::NO_CONTENT);
    app.me(&token).await.problem(StatusCode::UNAUTHORIZED);
    let patch = json!({ "name": "Ada" });
    let gone = app.call(Method::PATCH, "/v1/me", &token, &[], &patch).await;
    gone.problem(StatusCode::UNAUTHORIZED);
    end(json!({ "password": PASSWORD }))
        .await
        .problem(StatusCode::UNAUTHORIZED);
    app.log_in(ADA, PASSWORD)
        .await
        .problem(StatusCode::UNAUTHORIZED);
    let told = (ADA.to_owned(), Mail::AccountDeleted);
    assert_eq!(app.templates().await.pop(), Some(told));
    // The address is free.
    app.verified(ADA).await;
}

#[tokio::test]
async fn without_an_access_token_none_of_it_is_done() {
    let app = TestApp::new().await;
    let body = json!({});
    for (method, path) in [
        (Method::PATCH, "/v1/me"),
        (Method::PUT, "/v1/me/password"),
        (Method::POST, "/v1/me/email"),
        (Method::POST, "/v1/me/delete"),
        (Method::GET, "/v1/accounts"),
    ] {
        let answer = app.call(method, path, "not.a.token", &[], &body).await;
        answer.problem(StatusCode::UNAUTHORIZED);
    }
}
