//! The load: connections that ask, read the answer, and ask again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

/// Makes the bytes of a request from its number.
pub(crate) type Request = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// What one turn of a service has shown.
#[derive(Default)]
pub(crate) struct Turn {
    took: Duration,
    /// In µs, sorted.
    latencies: Vec<u32>,
}

impl Turn {
    /// Answers in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// In milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len() - 1);
        f64::from(self.latencies[at]) / 1e3
    }
}

/// Asks for so long over so many connections at once.
pub(crate) async fn turn(port: u16, request: Request, connections: usize, time: Duration) -> Turn {
    let begun = Instant::now();
    let end = begun + time;
    let mut asking = JoinSet::new();
    for connection in 0..connections {
        let request = Arc::clone(&request);
        asking.spawn(ask(port, connection, request, end));
    }
    let mut latencies = asking.join_all().await.concat();
    let took = begun.elapsed();
    latencies.sort_unstable();
    Turn { took, latencies }
}

async fn ask(port: u16, connection: usize, request: Request, end: Instant) -> Vec<u32> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies = Vec::with_capacity(100_000);
    let mut answer = Vec::with_capacity(64 * 1024);
    let mut number = (connection as u64) << 32;
    loop {
        let bytes = request(number);
        number += 1;
        let asked = Instant::now();
        if asked >= end {
            return latencies;
        }
        stream.write_all(&bytes).await.unwrap();
        answer.clear();
        while !is_whole(&answer) {
            let read = stream.read_buf(&mut answer).await.unwrap();
            assert!(read > 0, "the service closed the connection");
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 2"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

/// Whether the head is there, and as much of a body as it announces.
fn is_whole(answer: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length: ";
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let length = answer[..head]
        .windows(NAME.len())
        .position(|name| name == NAME)
        .map_or(0, |at| {
            let digits = answer[at + NAME.len()..].iter();
            digits
                .take_while(|digit| digit.is_ascii_digit())
                .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
        });
    answer.len() >= head + 4 + length
}
