//! Webhooks, as an account's programs use them.

mod deliveries;
mod endpoints;
mod events;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::json;

use crate::{app::Answer, owner::Owner};

impl Owner<'_> {
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
