//! Jobs that were enqueued, found again.

use std::time::{Duration, SystemTime};

use queue::testing::{assert_enqueued, enqueued};

use crate::harness::*;

fn numbered(number: usize) -> Task {
    Task {
        number,
        act: Act::Succeed,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_found_with_its_time_and_what_runs_is_not() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    assert!(enqueued::<Task>(queue).await.is_empty());
    let runs = queue.enqueue(&task(Act::Hang)).await.unwrap();
    let worker = fixture.start(1);
    until("it runs", async || fixture.log.starts_of(runs) == 1).await;
    worker.abort.cancel();
    worker.ended().await;

    let ready = queue.enqueue(&numbered(1)).await.unwrap();
    queue.enqueue(&Quick { act: Act::Succeed }).await.unwrap();
    let hour = Duration::from_secs(3600);
    let later = SystemTime::now() + hour;
    let last = queue.enqueue_at(&numbered(2), later + hour).await.unwrap();
    let first = queue.enqueue_at(&numbered(3), later).await.unwrap();
    let found = enqueued::<Task>(queue).await;
    let ids: Vec<_> = found.iter().map(|one| one.id).collect();
    assert_eq!(ids, [ready, first, last]);
    assert_eq!(found[0].run_at, None);
    let off = found[1].run_at.unwrap().duration_since(later);
    let off = off.unwrap_or_else(|early| early.duration());
    assert!(
        off <= Duration::from_millis(1),
        "whole milliseconds: {off:?}"
    );
    assert_eq!(found[1].job, numbered(3));
    assert_eq!(found[1].envelope.attempt, 1);

    let found = assert_enqueued::<Task>(queue, |task| task.number == 2).await;
    assert_eq!(found.id, last);
    let mut connection = fixture.connection().await;
    for key in ["s:0", "delayed", "j"] {
        let _: u64 = query(&mut connection, &["DEL", &fixture.key(key)]).await;
    }
    fixture.end().await;
}

#[tokio::test]
async fn an_assert_in_vain_says_where_it_stands_and_what_waits() {
    let fixture = Fixture::new().await;
    let queue = fixture.queue.clone();
    queue.enqueue(&numbered(1)).await.unwrap();
    let line = line!() + 3;
    let vain = tokio::spawn(async move {
        // Where it stands: the next line.
        assert_enqueued::<Task>(&queue, |task| task.number == 2).await;
    });
    let panic = vain.await.unwrap_err().into_panic();
    let text = panic.downcast_ref::<String>().unwrap();
    for part in [
        &format!("waiting.rs:{line}:"),
        "of 1 jobs task that wait none fits",
        r#"{"number":1,"act":"Succeed"}"#,
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let mut connection = fixture.connection().await;
    let _: u64 = query(&mut connection, &["DEL", &fixture.key("s:0")]).await;
    fixture.end().await;
}
