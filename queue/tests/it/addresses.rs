//! The ways to Redis that an address can name, and large answers on them.

use std::{sync::Arc, time::Duration};

use queue::{
    Job, JobContext, JobError, Registry, Settings,
    redis::{Client, IntoConnectionInfo, aio::MultiplexedConnection},
};
use serde::{Deserialize, Serialize};

use crate::{harness::*, server::Server};

/// A job of some size.
#[derive(Clone, Serialize, Deserialize)]
struct Large {
    text: String,
}

impl Job for Large {
    const NAME: &'static str = "large";
}

async fn run_large(job: Large, cx: JobContext<Arc<Log>>) -> Result<(), JobError> {
    if job.text.bytes().all(|byte| byte == b'x') {
        cx.app.done.lock().unwrap().push(cx.id);
        return Ok(());
    }
    Err(JobError::discard("not what was enqueued"))
}

/// A connection from before any password.
async fn admin(server: &Server) -> MultiplexedConnection {
    let client = Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_file_with_a_password_and_a_database_will_do() {
    let server = Server::start(false);
    let socket = format!("{}?db=3&pass=secret", server.socket());
    let redis = socket.into_connection_info().unwrap();
    let mut admin = admin(&server).await;
    let () = query(&mut admin, &["CONFIG", "SET", "requirepass", "secret"]).await;
    let fixture = Fixture::over(quick(Settings::new(redis, "socket"))).await;
    let id = fixture.queue.enqueue(&task(Act::Succeed)).await.unwrap();
    let worker = fixture.start(1);
    until_done(&fixture.log, 1).await;
    fixture.log.assert_each_done_once(&[id]);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_the_password_to_be_right() {
    let server = Server::start(false);
    let mut admin = admin(&server).await;
    let url = server.url().replace("//", "//:secret@");
    let redis = url.into_connection_info().unwrap();
    let fixture = Fixture::over(quick(Settings::new(redis, "password"))).await;
    let () = query(&mut admin, &["CONFIG", "SET", "requirepass", "other"]).await;
    let worker = fixture.start(1);
    fixture.queue.ping().await.unwrap_err();
    let () = query(&mut admin, &["CONFIG", "SET", "requirepass", "secret"]).await;
    let id = fixture.queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until_done(&fixture.log, 1).await;
    fixture.log.assert_each_done_once(&[id]);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_the_largest_jobs_comes_through_whole() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let sizes = [0, 1, 100, 5000, 70_000, 250_000];
    let jobs: Vec<_> = (0..60)
        .map(|number| Large {
            text: "x".repeat(sizes[number % sizes.len()]),
        })
        .collect();
    let ids = queue.enqueue_many(&jobs).await.unwrap();
    let registry = Registry::new().register::<Large, _, _>(run_large);
    let worker = start_with(queue, registry, log, 64, Duration::from_secs(5));
    until_done(log, ids.len()).await;
    log.assert_each_done_once(&ids);
    assert_settled(queue, 0).await;
    worker.stop().await;
    fixture.end().await;
}
