//! What only a real socket shows: stopping, and bodies that nobody wants.

use std::{io::ErrorKind::ConnectionReset, net::SocketAddr, pin::pin, time::Duration};

use api::{Connections, CutOff, Drain, settings::Settings};
use service::shutdown::Shutdown;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::app::TestApp;

pub(crate) struct Running {
    app: TestApp,
    pub(crate) addr: SocketAddr,
    shutdown: Shutdown,
    served: JoinHandle<Result<(), CutOff>>,
}

impl Running {
    /// Stops, and checks that no request is still in hand.
    pub(crate) async fn stop(self) {
        self.shutdown.soft.cancel();
        self.served.await.unwrap().unwrap();
    }
}

/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(3600);

async fn run(lead: Duration) -> Running {
    run_for(Drain {
        lead,
        request_timeout: FOREVER,
    })
    .await
}

async fn run_for(drain: Drain) -> Running {
    run_app(TestApp::new().await, drain).await
}

/// With settings of its own, until it is stopped.
pub(crate) async fn run_with(change: impl FnOnce(&mut Settings)) -> Running {
    let drain = Drain {
        lead: Duration::ZERO,
        request_timeout: FOREVER,
    };
    run_app(TestApp::with(change).await, drain).await
}

async fn run_app(app: TestApp, drain: Drain) -> Running {
    run_app_with(app, Connections::at_most(100), drain).await
}

/// With so many connections, each of which ends soon when nothing is read.
async fn run_with_at_most(most: usize, write_timeout: Duration) -> Running {
    let connections = Connections {
        most,
        write_timeout,
    };
    let drain = Drain {
        lead: Duration::ZERO,
        request_timeout: FOREVER,
    };
    run_app_with(TestApp::new().await, connections, drain).await
}

async fn run_app_with(app: TestApp, connections: Connections, drain: Drain) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = Shutdown {
        // The token that ends readiness is the one that begins the stop.
        soft: app.draining.clone(),
        ..Shutdown::default()
    };
    let api = app.api.clone();
    let serve = api::serve(listener, api, connections, shutdown.clone(), drain);
    Running {
        app,
        addr,
        shutdown,
        served: tokio::spawn(serve),
    }
}

/// A request that has begun and waits for the rest of its body.
async fn half_a_sign_up(addr: SocketAddr) -> (TcpStream, &'static str) {
    let body = r#"{"email":"ada@example.com","password":"correct horse battery"}"#;
    let (now, later) = body.split_at(20);
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST /v1/accounts HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Once the service asks for the body, the request is in its hands.
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 100 Continue"));
    stream.write_all(now.as_bytes()).await.unwrap();
    (stream, later)
}

async fn get(addr: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn refuses_readiness_then_connections_and_finishes_what_it_has() {
    let Running {
        app,
        addr,
        shutdown,
        served,
    } = run(Duration::from_millis(500)).await;
    let (mut stream, rest) = half_a_sign_up(addr).await;
    let mut idle = TcpStream::connect(addr).await.unwrap();
    assert!(
        get(addr, "/readyz")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );

    shutdown.soft.cancel();
    let answer = get(addr, "/readyz").await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("draining"),
        "{answer}"
    );

    // The listener closes after the lead; connections without a request are closed with it.
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(TcpStream::connect(addr).await.is_err());
    assert!(!served.is_finished());

    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    served.await.unwrap().unwrap();
    assert_eq!(app.mails().await.len(), 1);
}

#[tokio::test]
async fn a_client_that_sends_far_too_much_still_hears_why_not() {
    let running = run(Duration::ZERO).await;
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    let body = vec![b'x'; 4 * 1024 * 1024];
    let head = format!(
        "POST /v1/accounts HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    running.shutdown.soft.cancel();
    running.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_hard_signal_waits_for_nobody() {
    let Running {
        app: _app,
        addr,
        shutdown,
        served,
    } = run(FOREVER).await;
    let (mut open, _) = half_a_sign_up(addr).await;
    let mut idle = TcpStream::connect(addr).await.unwrap();
    shutdown.soft.cancel();
    shutdown.hard.cancel();
    let cut = served.await.unwrap().unwrap_err();
    assert_eq!(cut.to_string(), "1 request(s) were cut off");
    // Not only is nobody waiting for them any more: they are closed.
    for stream in [&mut open, &mut idle] {
        assert_closed(stream).await;
    }
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_does_not_delay_the_stop() {
    let Running {
        app: _app,
        addr,
        shutdown,
        served,
    } = run(Duration::ZERO).await;
    let mut slow = TcpStream::connect(addr).await.unwrap();
    slow.write_all(b"G").await.unwrap();
    // One that has had an answer before, and begins the next request.
    let mut second = TcpStream::connect(addr).await.unwrap();
    let head = b"HEAD /livez HTTP/1.1\r\nhost: test\r\n\r\n";
    second.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(second.read_u8().await.unwrap());
    }
    second.write_all(b"GET /live").await.unwrap();

    shutdown.soft.cancel();
    // Without the hard signal, and long before the time of a request is over.
    served.await.unwrap().unwrap();
    assert_closed(&mut slow).await;
    assert_closed(&mut second).await;
}

#[tokio::test]
async fn a_request_that_its_client_never_ends_is_cut_when_its_time_is_over() {
    let Running {
        app: _app,
        addr,
        shutdown,
        served,
    } = run_for(Drain {
        lead: Duration::ZERO,
        request_timeout: Duration::ZERO,
    })
    .await;
    let (mut open, _) = half_a_sign_up(addr).await;
    shutdown.soft.cancel();
    served.await.unwrap().unwrap_err();
    assert_closed(&mut open).await;
}

#[tokio::test]
async fn connections_past_the_most_wait_until_one_ends() {
    let running = run_with_at_most(2, FOREVER).await;
    let first = TcpStream::connect(running.addr).await.unwrap();
    let _second = TcpStream::connect(running.addr).await.unwrap();
    let mut third = pin!(get(running.addr, "/livez"));
    let early = timeout(Duration::from_millis(300), &mut third).await;
    assert!(early.is_err(), "{early:?}");
    drop(first);
    let answer = timeout(PATIENCE, third).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_makes_room_for_others() {
    let running = run_with_at_most(1, Duration::from_millis(300)).await;
    let mut deaf = TcpStream::connect(running.addr).await.unwrap();
    // More than fits on the way, or the connection would only be an idle one.
    let request = "GET /openapi.json HTTP/1.1\r\nhost: test\r\n\r\n";
    deaf.write_all(request.repeat(400).as_bytes())
        .await
        .unwrap();
    let answer = timeout(PATIENCE, get(running.addr, "/livez")).await;
    let answer = answer
        .expect("it is served once the other is gone")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.stop().await;
}

/// Nothing comes any more; a reset is an end as well.
async fn assert_closed(stream: &mut TcpStream) {
    let read = stream.read(&mut [0; 1]).await;
    assert!(
        matches!(&read, Ok(0)) || read.as_ref().is_err_and(|e| e.kind() == ConnectionReset),
        "{read:?}"
    );
}
