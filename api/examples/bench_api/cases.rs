//! What is asked for.

use std::sync::Arc;

use crate::{load::Request, setup::Database};

#[derive(Clone, Copy)]
pub(crate) enum Case {
    /// One row by its key.
    Me,
}

impl Case {
    pub(crate) const ALL: [Self; 1] = [Self::Me];

    /// The word for `--only`, and the beginning of its figures' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Me => "me",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Me => "GET /v1/me",
        }
    }

    /// The same for both services; the bare one does not look at the token.
    pub(crate) fn request(self, database: &Database) -> Request {
        let head = |line: &str| {
            let token = &database.token;
            format!("{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n")
        };
        match self {
            Self::Me => {
                let bytes = format!("{}\r\n", head("GET /v1/me")).into_bytes();
                Arc::new(move |_| bytes.clone())
            }
        }
    }
}
