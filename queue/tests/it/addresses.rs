//! The ways to Redis that an address can name, and large answers on them.

use std::{sync::Arc, time::Duration};

use queue::{Job, JobContext, JobError, Queue, Registry, Settings, Tls, redis::IntoConnectionInfo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde::{Deserialize, Serialize};

use crate::{
    harness::*,
    server::{Server, free_port},
};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_file_with_a_password_and_a_database_will_do() {
    let server = Server::start(false);
    let socket = format!("{}?db=3&pass=secret", server.socket());
    let redis = socket.into_connection_info().unwrap();
    // A connection from before any password.
    let mut admin = server.connection().await;
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
    // A connection from before any password.
    let mut admin = server.connection().await;
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

/// Makes the server listen for TLS too, as `localhost`; its port, and the authority.
async fn listen_for_tls(server: &Server) -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&key).unwrap().pem();
    let authority = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let file = |name: &str, text: String| {
        let path = server.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (
        file("certificate", certificate.pem()),
        file("key", key.serialize_pem()),
    );
    let port = free_port();
    let port_text = port.to_string();
    let mut admin = server.connection().await;
    let set = ["tls-auth-clients", "no", "tls-cert-file", &certificate];
    let more = ["tls-key-file", &key, "tls-port", &port_text];
    let () = query(&mut admin, &[&["CONFIG", "SET"], &set[..], &more].concat()).await;
    (port, authority_pem)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_reaches_the_server_that_it_trusts_and_no_other() {
    let server = Server::start(false);
    let (port, authority) = listen_for_tls(&server).await;
    let plain = server.url().into_connection_info().unwrap();
    let fixture = Fixture::over(quick(Settings::new(plain, "tls"))).await;
    let at = |host: &str, tls: Option<Tls>| {
        let mut settings = fixture.settings().clone();
        let address = format!("redis://{host}:{port}");
        settings.redis = address.into_connection_info().unwrap();
        settings.tls = tls;
        async { Queue::connect(settings).await.unwrap() }
    };
    let trusted = Tls::new(Some(&authority)).unwrap();
    let queue = at("localhost", Some(trusted.clone())).await;
    let ids = queue.enqueue_many(&vec![task(Act::Succeed); 50]).await;
    let worker = start(&queue, &fixture.log, 4);
    until_done(&fixture.log, 50).await;
    fixture.log.assert_each_done_once(&ids.unwrap());
    worker.stop().await;

    let refusal = |queue: Queue| async move { queue.ping().await.unwrap_err().to_string() };
    let by_name = refusal(at("127.0.0.1", Some(trusted)).await).await;
    assert!(by_name.contains("not valid for name"), "{by_name}");
    let public = Tls::new(None).unwrap();
    let by_authority = refusal(at("localhost", Some(public)).await).await;
    assert!(by_authority.contains("UnknownIssuer"), "{by_authority}");
    refusal(at("localhost", None).await).await;
    fixture.end().await;
}
