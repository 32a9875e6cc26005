//! Metrics, as Prometheus reads them.

use std::{future::pending, net::SocketAddr};

use service::{
    metrics::{
        self, Metrics, Snapshot,
        prometheus::{IntCounter, IntGauge},
    },
    settings,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn start(metrics: Metrics) -> SocketAddr {
    let addr = Some("127.0.0.1:0".parse().unwrap());
    let listener = metrics::listen(&settings::Metrics { addr }).await.unwrap();
    let addr = listener.as_ref().unwrap().local_addr().unwrap();
    tokio::spawn(metrics::serve(listener, metrics));
    addr
}

async fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nhost: {addr}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The value of a series, by the beginning of its line.
fn value(answer: &str, series: &str) -> Option<f64> {
    let rest = answer.lines().find_map(|line| line.strip_prefix(series))?;
    rest.trim().parse().ok()
}

#[tokio::test]
async fn what_is_counted_and_what_is_asked_for_are_told_together() {
    let metrics = Metrics::new("test", "1.2.3").asking(async || {
        let mut now = Snapshot::default();
        let samples: [(&[&str], f64); 2] = [(&["a"], 1.5), (&["b"], 2.0)];
        now.gauge("depth", "How deep.", &["queue"], &samples);
        now.counter("seen_total", "How many.", &[], &[(&[], 7.0)]);
        now.gauge("unknown", "Of which there is none.", &["queue"], &[]);
        now
    });
    let counted = metrics.register(IntCounter::new("counted_total", "Counted."));
    counted.inc_by(3);
    let addr = start(metrics).await;
    let answer = get(addr, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"));
    assert_eq!(value(&answer, "counted_total "), Some(3.0));
    assert_eq!(value(&answer, "depth{queue=\"a\"} "), Some(1.5));
    assert_eq!(value(&answer, "seen_total "), Some(7.0));
    let info = "build_info{service=\"test\",version=\"1.2.3\"} ";
    assert_eq!(value(&answer, info), Some(1.0));
    assert!(!answer.contains("unknown"), "{answer}");
    assert!(answer.contains("# TYPE counted_total counter\n"));
    counted.inc();
    let answer = get(addr, "/metrics").await;
    assert_eq!(value(&answer, "counted_total "), Some(4.0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_is_told_in_seconds_and_bytes() {
    let addr = start(Metrics::new("test", "1")).await;
    let answer = get(addr, "/metrics").await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let within = |series: &str, from: f64, to: f64| {
        let value = value(&answer, series).unwrap_or_else(|| panic!("no {series}: {answer}"));
        assert!((from..to).contains(&value), "{series}{value}");
    };
    within("process_cpu_seconds_total ", 0.0, 3600.0);
    within("process_start_time_seconds ", now - 3600.0, now + 60.0);
    within("process_resident_memory_bytes ", 1e6, 1e10);
    within("process_virtual_memory_bytes ", 1e6, 1e13);
    within("process_threads ", 1.0, 1e4);
    within("process_open_fds ", 3.0, 1e5);
    within("process_max_fds ", 3.0, 1e10);
}

#[tokio::test]
async fn nothing_else_is_there() {
    let addr = start(Metrics::new("test", "1")).await;
    for path in ["/", "/metrics/", "/livez", "/metrics/x"] {
        let answer = get(addr, path).await;
        assert!(answer.starts_with("HTTP/1.0 404"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_question_that_is_never_answered_is_left_out() {
    let metrics = Metrics::new("test", "1").asking(pending);
    metrics.register(IntGauge::new("known", "Is known.")).set(1);
    let answer = get(start(metrics).await, "/metrics").await;
    assert_eq!(value(&answer, "known "), Some(1.0), "{answer}");
}

#[tokio::test]
async fn without_a_setting_none_listens_and_a_taken_address_is_named() {
    let none = metrics::listen(&settings::Metrics { addr: None }).await;
    assert!(none.unwrap().is_none());
    let addr = start(Metrics::new("test", "1")).await;
    let refused = metrics::listen(&settings::Metrics { addr: Some(addr) }).await;
    let said = refused.unwrap_err().to_string();
    let expected = format!("cannot listen on {addr}; METRICS_ADDR names another address");
    assert_eq!(said, expected);
}
