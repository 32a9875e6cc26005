//! What is asked for.

use std::sync::Arc;

use uuid::Uuid;

use crate::{load::Request, setup::Database};

/// What is told.
const EVENT: &str = r#"{"type":"invoice.paid","data":{"id":"in_1042","amount":1999,"currency":"EUR","customer":"ada@example.com"}}"#;

#[derive(Clone, Copy)]
pub(crate) enum Case {
    /// One row by its key.
    Me,
    /// A page of rows.
    Webhooks,
    /// Six rows in a transaction: the key, the event, and two deliveries with their jobs.
    Events,
}

impl Case {
    pub(crate) const ALL: [Self; 3] = [Self::Me, Self::Webhooks, Self::Events];

    /// The word for `--only`, and the beginning of its figures' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Me => "me",
            Self::Webhooks => "webhooks",
            Self::Events => "events",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Me => "GET /v1/me",
            Self::Webhooks => "GET /v1/webhooks, 20 of 40",
            Self::Events => "POST /v1/events, to 2 endpoints",
        }
    }

    /// The same for both services; the bare one does not look at the token.
    pub(crate) fn request(self, database: &Database) -> Request {
        let token = &database.token;
        let head = |line: &str| {
            format!("{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n")
        };
        let always = |line: &str| -> Request {
            let bytes = format!("{}\r\n", head(line)).into_bytes();
            Arc::new(move |_| bytes.clone())
        };
        match self {
            Self::Me => always("GET /v1/me"),
            Self::Webhooks => always("GET /v1/webhooks"),
            Self::Events => {
                let head = head("POST /v1/events");
                let length = EVENT.len();
                // Each turn has keys of its own.
                let turn = Uuid::now_v7();
                Arc::new(move |number| {
                    let key = format!("idempotency-key: {turn}-{number}");
                    format!(
                        "{head}{key}\r\ncontent-type: application/json\r\n\
                         content-length: {length}\r\n\r\n{EVENT}"
                    )
                    .into_bytes()
                })
            }
        }
    }
}
