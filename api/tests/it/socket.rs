//! What only a real socket shows: stopping, and bodies that nobody wants.

use std::{net::SocketAddr, time::Duration};

use service::shutdown::Shutdown;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::app::TestApp;

struct Running {
    app: TestApp,
    addr: SocketAddr,
    shutdown: Shutdown,
    served: JoinHandle<std::io::Result<()>>,
}

async fn run(lead: Duration) -> Running {
    let app = TestApp::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = Shutdown {
        // The token that ends readiness is the one that begins the stop.
        soft: app.draining.clone(),
        ..Shutdown::default()
    };
    let serve = api::serve(listener, app.router.clone(), shutdown.clone(), lead);
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
    assert_eq!(app.jobs().await.len(), 1);
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
    } = run(Duration::from_secs(3600)).await;
    let _open = half_a_sign_up(addr).await;
    shutdown.soft.cancel();
    shutdown.hard.cancel();
    served.await.unwrap().unwrap();
}
