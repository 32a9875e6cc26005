//! Jobs by their ids.

use std::time::Duration;

use queue::{
    Envelope, JobId, Queue, Registry,
    inspect::{Place, Search, State},
};

use super::{all, empty};
use crate::harness::*;

async fn place(queue: &Queue, id: JobId) -> Option<Place> {
    let found = queue.find("default", id).await.unwrap().found()?;
    assert_eq!(found.id, Some(id));
    Some(found.place)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_found_wherever_it_is() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let hour = Duration::from_secs(3600);
    let delayed = queue.enqueue_in(&task(Act::Succeed), hour).await.unwrap();
    assert!(matches!(
        place(queue, delayed).await,
        Some(Place::Delayed { due_ms: 1.. })
    ));

    let ready = queue.enqueue(&task(Act::Hang)).await.unwrap();
    assert!(matches!(
        place(queue, ready).await,
        Some(Place::Ready { .. })
    ));
    let registry = Registry::new().register::<Task, _, _>(run_task);
    let worker = start_with(queue, registry, log, 2, Duration::ZERO);
    until("it runs", async || log.starts_of(ready) == 1).await;
    let Some(Place::InHand {
        consumer: Some(name),
        ..
    }) = place(queue, ready).await
    else {
        panic!("it runs");
    };
    assert_eq!(name, queue.consumers("default").await.unwrap()[0].name);

    let parked = queue.enqueue(&Quick { act: Act::Succeed }).await.unwrap();
    let dead = queue.enqueue(&task(Act::Discard)).await.unwrap();
    until("both are", async || {
        let counts = queue.counts("default").await.unwrap();
        (counts.parked, counts.dead) == (1, 1)
    })
    .await;
    assert_eq!(place(queue, parked).await.unwrap().state(), State::Parked);
    let Some(Place::Dead { letter, .. }) = place(queue, dead).await else {
        panic!("it is dead");
    };
    assert_eq!(
        letter,
        queue.dead_letters("default", 1).await.unwrap()[0].id
    );

    let done = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until_done(log, 1).await;
    until("it is gone", async || {
        queue.find("default", done).await.unwrap() == Search::Absent
    })
    .await;
    worker.stop().await;
    empty(fixture).await;
}

/// A job whose id is older than its entry by far, as after its delay.
async fn late(queue: &Queue) -> JobId {
    let mut envelope = Envelope::new(&task(Act::Succeed)).unwrap();
    let mut bytes = *envelope.id.as_uuid().as_bytes();
    bytes[..6].copy_from_slice(&[0, 0, 0, 0, 0, 9]);
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    envelope.id = text.parse().unwrap();
    queue.enqueue_envelope(&envelope).await.unwrap();
    envelope.id
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_long_backlog_the_id_tells_where_to_look() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let some = vec![task(Act::Succeed); 700];
    let first = late(queue).await;
    queue.enqueue_many(&some).await.unwrap();
    // Of its own millisecond, far from both ends.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let middle = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let lost = late(queue).await;
    queue.enqueue_many(&some).await.unwrap();
    let last = late(queue).await;
    for id in [first, middle, last] {
        assert!(matches!(place(queue, id).await, Some(Place::Ready { .. })));
    }
    for id in [lost, JobId::new()] {
        assert_eq!(queue.find("default", id).await.unwrap(), Search::Unseen);
    }
    // A shorter one is looked through whole.
    for job in all(queue, State::Ready, 100).await.iter().take(1000) {
        queue.delete("default", job.id.unwrap()).await.unwrap();
    }
    assert_eq!(
        queue.find("default", JobId::new()).await.unwrap(),
        Search::Absent
    );
    let worker = fixture.start(8);
    assert_settled(queue, 0).await;
    worker.stop().await;
    fixture.end().await;
}
