//! Limits for requests, over all processes.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use queue::{
    Cluster, Error, Queue, Servers,
    limit::{Limit, Limiter, Quota},
    redis::aio::MultiplexedConnection,
};

use crate::{
    harness::*,
    server::{ClusterServers, Server},
};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Practically no more than the burst.
fn hourly(burst: u32) -> Limit {
    Limit {
        requests: 1,
        per: HOUR,
        burst,
    }
}

/// How long the names of limits live, in ms.
async fn kept(fixture: &Fixture, connection: &mut MultiplexedConnection) -> BTreeMap<String, i64> {
    let prefix = format!("{{{}:limits}}:tat:", fixture.settings().namespace);
    let keys: Vec<String> = query(connection, &["KEYS", &format!("{prefix}*")]).await;
    let mut kept = BTreeMap::new();
    for key in keys {
        let left = query(connection, &["PTTL", &key]).await;
        kept.insert(key.strip_prefix(&prefix).unwrap().to_owned(), left);
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_clients_together_never_exceed_a_limit() {
    let fixture = Fixture::new().await;
    let quick = Limit {
        requests: 100,
        per: Duration::from_secs(1),
        burst: 7,
    };
    let (begun, allowed) = (Instant::now(), AtomicUsize::new(0));
    let client = async || {
        // A process of its own has a connection of its own.
        let queue = Queue::connect(fixture.settings().clone()).await.unwrap();
        let limiter = Limiter::new(&queue);
        for _ in 0..100 {
            let taken = limiter.take(&[("quick", quick)]).await.unwrap();
            allowed.fetch_add(usize::from(taken.allowed), Ordering::Relaxed);
        }
    };
    tokio::join!(client(), client(), client(), client());
    let took = begun.elapsed().as_millis();
    let allowed = allowed.into_inner() as u128;
    assert!(allowed >= 7, "{allowed}");
    // The first of all may have come after `begun`, and nothing before it.
    assert!(allowed <= 7 + took / 10, "{allowed} in {took} ms");
    fixture.end().await;
}

#[tokio::test]
async fn who_is_refused_by_one_limit_uses_up_nothing_of_the_others() {
    let fixture = Fixture::new().await;
    let limiter = Limiter::new(&fixture.queue);
    let both = [("one", hourly(1)), ("many", hourly(3))];
    let taken = limiter.take(&both).await.unwrap();
    assert!(taken.allowed);
    let left: Vec<u64> = taken.quotas.iter().map(|quota| quota.remaining).collect();
    assert_eq!(left, [0, 2]);
    assert_eq!(taken.retry_after(), Duration::ZERO);
    for _ in 0..5 {
        let taken = limiter.take(&both).await.unwrap();
        assert!(!taken.allowed);
        let left: Vec<u64> = taken.quotas.iter().map(|quota| quota.remaining).collect();
        assert_eq!(left, [0, 2]);
        let wait = taken.retry_after();
        assert!(wait > HOUR / 2 && wait <= HOUR, "{wait:?}");
    }
    for _ in 0..2 {
        assert!(limiter.take(&both[1..]).await.unwrap().allowed);
    }
    assert!(!limiter.take(&both[1..]).await.unwrap().allowed);
    fixture.end().await;
}

#[tokio::test]
async fn what_is_left_is_told_and_comes_back() {
    let fixture = Fixture::new().await;
    let limiter = Limiter::new(&fixture.queue);
    let limit = Limit {
        requests: 2,
        per: Duration::from_secs(1),
        burst: 2,
    };
    let first = limiter.take(&[("a", limit)]).await.unwrap().quotas[0];
    let half = Duration::from_millis(500);
    assert_eq!((first.remaining, first.full_in), (1, half));
    assert_eq!(first.more_in, half);
    let second = limiter.take(&[("a", limit)]).await.unwrap().quotas[0];
    assert!(second.more_in <= half && second.full_in <= 2 * half);
    assert!(second.full_in > first.full_in, "{second:?}");
    until("one more is let through", async || {
        limiter.take(&[("a", limit)]).await.unwrap().allowed
    })
    .await;
    fixture.end().await;
}

#[tokio::test]
async fn a_limit_that_has_recovered_is_not_kept() {
    let fixture = Fixture::new().await;
    let limiter = Limiter::new(&fixture.queue);
    let mut connection = fixture.connection().await;
    let short = Limit {
        requests: 10,
        per: Duration::from_millis(100),
        burst: 10,
    };
    let limits = [("short", short), ("long", hourly(5))];
    limiter.take(&limits).await.unwrap();
    until("the short one has recovered", async || {
        kept(&fixture, &mut connection).await.len() == 1
    })
    .await;
    let kept = kept(&fixture, &mut connection).await;
    let hour = i64::try_from(HOUR.as_millis()).unwrap();
    assert!((1..=hour).contains(&kept["long"]), "{kept:?}");
    fixture.end().await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_and_a_limit_that_was_lowered_stop_nothing_for_long() {
    let fixture = Fixture::new().await;
    let limiter = Limiter::new(&fixture.queue);
    let mut connection = fixture.connection().await;
    let quick = Limit {
        requests: 50,
        per: Duration::from_secs(1),
        burst: 5,
    };
    // As if it had let requests through in an hour from now.
    let (now, _): (u64, u64) = query(&mut connection, &["TIME"]).await;
    let key = format!("{{{}:limits}}:tat:a", fixture.settings().namespace);
    let later = format!("{}000000", now + 3600);
    let () = query(&mut connection, &["SET", &key, &later]).await;
    let taken = limiter.take(&[("a", quick)]).await.unwrap();
    let full = Duration::from_millis(100);
    assert!(
        !taken.allowed && taken.quotas[0].full_in == full,
        "{taken:?}"
    );
    until("it recovers as after any burst", async || {
        limiter.take(&[("a", quick)]).await.unwrap().allowed
    })
    .await;
    fixture.end().await;
}

#[tokio::test]
async fn limits_that_cannot_be_are_refused() {
    let fixture = Fixture::new().await;
    let limiter = Limiter::new(&fixture.queue);
    for wrong in [
        hourly(0),
        Limit {
            requests: 0,
            ..hourly(1)
        },
        Limit {
            per: Duration::ZERO,
            ..hourly(1)
        },
        Limit {
            per: 25 * HOUR,
            ..hourly(1)
        },
    ] {
        let refused = limiter.take(&[("a", wrong)]).await.unwrap_err();
        assert!(matches!(refused, Error::Settings(_)), "{refused}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_full_redis_limits_and_one_that_is_away_says_so() {
    let mut server = Server::start(false);
    let fixture = Fixture::at(&server.url()).await;
    let limiter = Limiter::new(&fixture.queue);
    let mut connection = server.connection().await;
    let () = query(&mut connection, &["CONFIG", "SET", "maxmemory", "1"]).await;
    fixture
        .queue
        .enqueue(&task(Act::Succeed))
        .await
        .unwrap_err();
    for (allowed, remaining) in [(true, 1), (true, 0), (false, 0)] {
        let taken = limiter.take(&[("a", hourly(2))]).await.unwrap();
        assert_eq!(
            (taken.allowed, taken.quotas[0].remaining),
            (allowed, remaining)
        );
    }
    server.kill();
    let away = limiter.take(&[("a", hourly(2))]).await.unwrap_err();
    assert!(away.is_unavailable(), "{away}");
    server.resume();
    until("it is back, with nothing", async || {
        let taken = limiter.take(&[("a", hourly(2))]).await;
        taken.is_ok_and(|taken| taken.quotas[0].remaining == 1)
    })
    .await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_all_limits_of_a_request_are_on_one_node() {
    let servers = ClusterServers::start().await;
    let fixture = Fixture::tuned(|settings| {
        settings.servers = Servers::Cluster(Cluster {
            nodes: servers.nodes(),
        });
    })
    .await;
    let limiter = Limiter::new(&fixture.queue);
    let names: Vec<String> = (0..20).map(|number| format!("limit {number}")).collect();
    let limits: Vec<_> = names.iter().map(|name| (&**name, hourly(2))).collect();
    for remaining in [1, 0] {
        let taken = limiter.take(&limits).await.unwrap();
        let is_left = |quota: &Quota| quota.remaining == remaining;
        assert!(taken.allowed && taken.quotas.iter().all(is_left));
    }
    fixture.end().await;
}
