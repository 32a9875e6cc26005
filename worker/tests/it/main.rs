//! The worker against real servers, with an SMTP server of the tests' own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod mail;
mod process;
mod send_email;
mod smtp;

use std::time::Duration;

/// Waits for what has to become true; how long it takes is not the test's concern.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let patience = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(60), patience).await;
    done.unwrap_or_else(|_| panic!("never: {what}"));
}
