//! Two phases, and an end that says whether something broke.

use std::{
    convert::Infallible,
    future::pending,
    io,
    time::{Duration, Instant},
};

use service::shutdown::{Shutdown, Tasks};

/// Ends as a well-behaved part does.
async fn until_soft(shutdown: Shutdown) -> Result<(), Infallible> {
    shutdown.soft.cancelled().await;
    Ok(())
}

#[tokio::test]
async fn parts_that_end_when_asked_are_a_success() {
    let shutdown = Shutdown::default();
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn("one", until_soft(shutdown.clone()));
    tasks.spawn("two", until_soft(shutdown.clone()));
    tasks.spawn_background("probes", pending::<Result<(), Infallible>>());
    shutdown.soft.cancel();
    tasks.run().await.unwrap();
}

#[tokio::test]
async fn a_part_that_fails_stops_the_others_and_is_named() {
    let shutdown = Shutdown::default();
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn("good", until_soft(shutdown.clone()));
    tasks.spawn("bad", async { Err(io::Error::other("no more ink")) });
    let error = tasks.run().await.unwrap_err();
    assert_eq!(error.to_string(), "bad failed: no more ink");
    assert!(shutdown.soft.is_cancelled());
}

#[tokio::test]
async fn a_part_that_panics_or_leaves_early_is_a_failure() {
    let shutdown = Shutdown::default();
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn("good", until_soft(shutdown.clone()));
    tasks.spawn("wild", async {
        panic!("out of hand") as Result<(), Infallible>
    });
    let error = tasks.run().await.unwrap_err().to_string();
    assert!(
        error.starts_with("wild died") && error.contains("out of hand"),
        "{error}"
    );

    let mut tasks = Tasks::new(Shutdown::default());
    tasks.spawn("hasty", async { Ok::<(), Infallible>(()) });
    let error = tasks.run().await.unwrap_err();
    assert_eq!(error.to_string(), "hasty ended before it was asked to");
}

#[tokio::test]
async fn a_background_part_that_fails_stops_the_rest() {
    let shutdown = Shutdown::default();
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn("good", until_soft(shutdown.clone()));
    tasks.spawn_background("probes", async { Err(io::Error::other("port lost")) });
    let error = tasks.run().await.unwrap_err();
    assert_eq!(error.to_string(), "probes failed: port lost");
}

#[tokio::test]
async fn a_part_that_ignores_the_hard_signal_is_cut_off() {
    let shutdown = Shutdown::default();
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn("deaf", pending::<Result<(), Infallible>>());
    shutdown.soft.cancel();
    shutdown.hard.cancel();
    let error = tasks.run().await.unwrap_err();
    assert_eq!(error.to_string(), "1 part(s) had to be cut off");
}

#[tokio::test]
async fn the_hard_phase_follows_the_soft_one_after_the_grace_period() {
    let grace = Duration::from_millis(200);
    let shutdown = Shutdown::on_signals(grace).unwrap();
    let begun = Instant::now();
    shutdown.soft.cancel();
    shutdown.hard.cancelled().await;
    assert!(begun.elapsed() >= grace);
}
