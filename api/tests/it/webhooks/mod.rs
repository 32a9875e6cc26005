//! Webhooks, as an account's programs use them.

mod deliveries;
mod endpoints;
mod events;

use axum::{
    body::Body,
    http::{Method, StatusCode, header, request},
};
use serde_json::{Value, json};

use crate::app::{Answer, PASSWORD, TestApp, request};

/// An account with an access token.
struct Owner<'a> {
    app: &'a TestApp,
    token: String,
}

impl<'a> Owner<'a> {
    async fn new(app: &'a TestApp, email: &str) -> Self {
        app.verified(email).await;
        let tokens = app.log_in(email, PASSWORD).await;
        let token = tokens.expect(StatusCode::OK).json()["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        Self { app, token }
    }

    fn request(&self, method: Method, path: &str) -> request::Builder {
        request(method, path).header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    async fn send(&self, request: request::Builder, body: impl Into<Body>) -> Answer {
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.app.send(request.body(body.into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path), Body::empty())
            .await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path), body.to_string())
            .await
    }

    async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path), body.to_string())
            .await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path), Body::empty())
            .await
    }

    /// A new endpoint's path.
    async fn endpoint(&self) -> String {
        let body = json!({ "url": "https://example.com/hooks" });
        let made = self.post("/v1/webhooks", &body).await;
        made.expect(StatusCode::CREATED)
            .header("location")
            .to_owned()
    }

    /// Sends an event with this text as its body.
    async fn event(&self, key: &str, body: impl Into<Body>) -> Answer {
        let request = self.request(Method::POST, "/v1/events");
        self.send(request.header("idempotency-key", key), body)
            .await
    }
}

/// The ids in a page of a list.
fn ids(page: &Answer) -> Vec<String> {
    let page = page.expect(StatusCode::OK).json();
    let rows = page["data"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}
