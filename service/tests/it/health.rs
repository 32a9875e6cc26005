//! Probes, asked over a socket by the client that the `healthcheck` subcommands use.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use service::health::{self, CheckError, Health};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

async fn listen(health: Health) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(health::serve(listener, health));
    addr
}

async fn check(addr: SocketAddr, path: &'static str) -> Result<(), CheckError> {
    tokio::task::spawn_blocking(move || health::check(addr, path))
        .await
        .unwrap()
}

fn body(error: CheckError) -> serde_json::Value {
    let CheckError::Unhealthy(_, _, said) = error else {
        panic!("{error}");
    };
    let body = said
        .strip_prefix("HTTP/1.0 503 Service Unavailable ")
        .unwrap();
    serde_json::from_str(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_when_every_dependency_answers_and_none_asked_for_liveness() {
    let health = Health::new(CancellationToken::new())
        .with_probe("a", async || Ok(()))
        .with_probe("b", async || Ok(()));
    let addr = listen(health).await;
    check(addr, "/readyz").await.unwrap();
    // 0.0.0.0 is where a container listens; the check asks it by loopback.
    check(SocketAddr::from(([0, 0, 0, 0], addr.port())), "/livez")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn says_which_dependency_is_away_and_is_alive_all_the_same() {
    let health = Health::new(CancellationToken::new())
        .with_probe("fine", async || Ok(()))
        .with_probe("gone", async || Err("refused".to_owned()));
    let addr = listen(health).await;
    let report = body(check(addr, "/readyz").await.unwrap_err());
    let expected = serde_json::json!({
        "status": "unavailable",
        "checks": { "fine": "ok", "gone": "refused" },
    });
    assert_eq!(report, expected);
    check(addr, "/livez").await.unwrap();
}

#[tokio::test]
async fn dependencies_that_hang_are_asked_at_once_and_given_up() {
    let health = Health::new(CancellationToken::new())
        .with_probe("one", std::future::pending)
        .with_probe("two", std::future::pending);
    let report = serde_json::to_value(health.readiness().await).unwrap();
    assert_eq!(report["checks"]["one"], "no answer within 1 s");
    assert_eq!(report["checks"]["two"], "no answer within 1 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn not_ready_from_the_moment_it_stops() {
    let draining = CancellationToken::new();
    let addr = listen(Health::new(draining.clone()).with_probe("a", async || Ok(()))).await;
    check(addr, "/readyz").await.unwrap();
    draining.cancel();
    let report = body(check(addr, "/readyz").await.unwrap_err());
    assert_eq!(report["status"], "draining");
    check(addr, "/livez").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_gives_up_on_those_who_do_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let begun = Instant::now();
    let error = check(silent, "/livez").await.unwrap_err();
    assert!(matches!(error, CheckError::Unreachable(..)), "{error}");
    assert!(begun.elapsed() > Duration::from_secs(2), "it did wait");
    drop(listener);
    let error = check(silent, "/livez").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no answer from http://{silent}/livez")
    );
}
