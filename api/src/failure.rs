//! From a failure of the machinery to what the client sees of it.

use std::error::Error;

use queue::EnqueueError;
use service::telemetry::chain;

use crate::problem::Problem;

/// SQLSTATE codes and classes that mean "not now" rather than "not like this".
///
/// See <https://www.postgresql.org/docs/17/errcodes-appendix.html>.
const NOT_NOW: [&str; 12] = [
    "08",    // connection exceptions
    "28",    // refused at log-in, as between the two steps of a password's change
    "3D000", // the database does not exist yet
    "53",    // out of connections, memory or disk
    "57P",   // shutting down, crashed or starting
    "25006", // a replica that is not yet the primary
    "57014", // the statement took too long
    "55P03", // a lock could not be had in time
    "40001", "40P01", // others worked on the same rows: the same request may succeed
    // The statements were checked against the schema when this was compiled, so a table or a
    // column can only be missing because the migrations have not run yet.
    "42P01", "42703",
];

impl From<domain::Error> for Problem {
    fn from(error: domain::Error) -> Self {
        Self::of(&error)
    }
}

/// For a handler that enqueues without a transaction.
impl From<EnqueueError> for Problem {
    fn from(error: EnqueueError) -> Self {
        Self::of(&error)
    }
}

/// From [`crate::limit::Limits`]: without Redis nothing is let through that could be guessed.
impl From<queue::Error> for Problem {
    fn from(error: queue::Error) -> Self {
        Self::of(&error)
    }
}

impl Problem {
    /// 503 when a dependency is away, else 500; the log gets one line with the whole chain.
    fn of(error: &(dyn Error + 'static)) -> Self {
        if is_unavailable(error) {
            tracing::warn!(error = %chain(error), "a dependency is away, or has no room");
            Self::unavailable()
        } else {
            tracing::error!(error = %chain(error), "request failed");
            Self::internal()
        }
    }
}

/// Whether Postgres or Redis cannot take it now, somewhere among the causes of `error`.
fn is_unavailable(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<sqlx::Error>() {
        is_away(error)
    } else if let Some(error) = error.downcast_ref::<EnqueueError>() {
        matches!(
            error,
            EnqueueError::QueueFull { .. }
                | EnqueueError::OutOfMemory
                | EnqueueError::Unavailable(_)
        )
    } else if let Some(error) = error.downcast_ref::<queue::Error>() {
        error.is_unavailable()
    } else {
        error.source().is_some_and(is_unavailable)
    }
}

fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| NOT_NOW.iter().any(|class| code.starts_with(class))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, response::IntoResponse};

    use super::*;

    #[test]
    fn a_lost_connection_is_found_under_any_number_of_causes() {
        let away = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(is_unavailable(&domain::Error::from(away())));
        assert!(is_unavailable(&domain::Error::from(outbox::Error::from(
            away()
        ))));
        assert!(!is_unavailable(&domain::Error::from(
            sqlx::Error::RowNotFound
        )));
    }

    #[test]
    fn a_full_queue_is_a_503_and_a_job_too_large_is_not() {
        let status = |error: EnqueueError| Problem::from(error).into_response().status();
        let full = EnqueueError::QueueFull {
            queue: "default".to_owned(),
            limit: 1,
            taken: Vec::new(),
        };
        assert_eq!(status(full), StatusCode::SERVICE_UNAVAILABLE);
        let large = EnqueueError::TooLarge { size: 2, limit: 1 };
        assert_eq!(status(large), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
