//! An account that is logged in, as most tests need one.

use axum::{
    body::Body,
    http::{Method, StatusCode, header, request},
};
use serde_json::Value;

use crate::app::{Answer, PASSWORD, TestApp, request};

/// An account with an access token.
pub(crate) struct Owner<'a> {
    app: &'a TestApp,
    token: String,
}

impl<'a> Owner<'a> {
    pub(crate) async fn new(app: &'a TestApp, email: &str) -> Self {
        app.verified(email).await;
        let tokens = app.log_in(email, PASSWORD).await;
        let token = tokens.expect(StatusCode::OK).json()["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        Self { app, token }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> request::Builder {
        request(method, path).header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    pub(crate) async fn send(&self, request: request::Builder, body: impl Into<Body>) -> Answer {
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.app.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path), Body::empty())
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path), body.to_string())
            .await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path), body.to_string())
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path), Body::empty())
            .await
    }
}

/// The ids in a page of a list.
pub(crate) fn ids(page: &Answer) -> Vec<String> {
    let page = page.expect(StatusCode::OK).json();
    let rows = page["data"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}
