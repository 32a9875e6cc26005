//! The pages for admins, as a browser sees them.

mod attacks;
mod jobs;
mod sign_in;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use domain::accounts::{Email, grant_admin};

use crate::app::{Answer, PASSWORD, TestApp, request};

pub(crate) const ADA: &str = "ada@example.com";

/// Somebody at a browser, with the cookie that it has.
pub(crate) struct Browser<'a> {
    pub(crate) app: &'a TestApp,
    /// As it is sent: name and value.
    pub(crate) cookie: String,
}

impl<'a> Browser<'a> {
    /// Of an admin who has just signed up and in.
    pub(crate) async fn of_admin(app: &'a TestApp, email: &str) -> Self {
        app.verified(email).await;
        let address = Email::parse(email).unwrap();
        grant_admin(&app.database.pool, &address).await.unwrap();
        Self::signed_in(app, email).await
    }

    /// Of somebody who is an admin.
    pub(crate) async fn signed_in(app: &'a TestApp, email: &str) -> Self {
        let answer = sign_in(app, email, PASSWORD, "").await;
        answer.expect(StatusCode::SEE_OTHER);
        Self {
            app,
            cookie: cookie(&answer),
        }
    }

    /// A page.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.with(Method::GET, path, &[], "").await
    }

    /// A form, with the token of this browser's session.
    pub(crate) async fn post(&self, path: &str, fields: &str) -> Answer {
        let form = format!("csrf={}&{fields}", self.csrf().await);
        self.with(Method::POST, path, &[], &form).await
    }

    pub(crate) async fn with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        form: &str,
    ) -> Answer {
        let mut request = request(method, path)
            .header("cookie", &self.cookie)
            .header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Body::from(form.to_owned());
        self.app.send(request.body(body).unwrap()).await
    }

    /// The token that the forms of its pages have.
    pub(crate) async fn csrf(&self) -> String {
        let page = self.get("/admin").await;
        let field = r#"name="csrf" value=""#;
        let (_, rest) = page
            .expect(StatusCode::OK)
            .text()
            .split_once(field)
            .unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

/// Name and value of the cookie that an answer sets.
pub(crate) fn cookie(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").split(';').next();
    cookie.unwrap().to_owned()
}

/// What the form sends.
pub(crate) async fn sign_in(app: &TestApp, email: &str, password: &str, next: &str) -> Answer {
    sign_in_from(
        app,
        &[],
        &format!("email={email}&password={password}&next={next}"),
    )
    .await
}

pub(crate) async fn sign_in_from(app: &TestApp, headers: &[(&str, &str)], form: &str) -> Answer {
    let mut request = request(Method::POST, "/admin/sign-in")
        .header("content-type", "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(request.body(form.replace(' ', "+").into()).unwrap())
        .await
}

/// A page with an error, as it has to be.
#[track_caller]
pub(crate) fn failure(answer: &Answer, status: StatusCode) -> &str {
    answer.expect(status);
    assert!(answer.header("content-type").starts_with("text/html"));
    assert!(
        answer
            .header("content-security-policy")
            .contains("style-src 'self'")
    );
    let html = answer.text();
    assert!(html.contains(answer.header("x-request-id")), "{html}");
    html
}

/// Whether an answer is the way to the sign-in.
#[track_caller]
pub(crate) fn is_sent_away(answer: &Answer) {
    answer.expect(StatusCode::SEE_OTHER);
    assert!(answer.header("location").contains("./admin/sign-in"));
}

pub(crate) async fn change(app: &TestApp, sql: &'static str) {
    let changed = sqlx::query(sql).execute(&app.database.pool).await.unwrap();
    assert!(changed.rows_affected() > 0, "{sql}");
}
