//! The worker against real servers, with an SMTP server of the tests' own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod account_mails;
mod console;
mod deliver_webhook;
mod mail;
mod metrics;
mod process;
mod purge;
mod send_email;
mod smtp;
mod traces;

use std::time::Duration;

use queue::redis::ConnectionAddr;

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

/// What tells the binary where a queue of the tests is.
fn redis_env(queue: &queue::Settings) -> [(&'static str, String); 5] {
    let ConnectionAddr::Tcp(host, port) = queue.redis.addr().clone() else {
        panic!("TEST_REDIS_URL is no TCP address");
    };
    let login = queue.redis.redis_settings();
    let user = login.username().unwrap_or("default");
    let password = login.password().unwrap_or("k3Vx8aPq0ZtR5mWy");
    [
        ("REDIS_HOST", host),
        ("REDIS_PORT", port.to_string()),
        ("REDIS_USER", user.to_owned()),
        ("REDIS_PASSWORD", password.to_owned()),
        ("QUEUE_NAMESPACE", queue.namespace.clone()),
    ]
}
