//! One request and its answer.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use domain::webhooks::{Response, Target};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::connect::Stream;
use super::{CallError, Headers};

/// The most bytes of an answer's head, and about as many are read ahead of its body.
const HEAD_LIMIT: usize = 16 * 1024;

/// How much of an answer's body is kept, in bytes.
const BODY_LIMIT: usize = 4 * 1024;

/// An answer whose head has arrived.
pub(super) struct Answer {
    head: hyper::Response<Incoming>,
    /// What moves the bytes; whoever waits for the body has to let it.
    connection: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Sends the request and waits for the answer's head.
pub(super) async fn begin(
    stream: Box<dyn Stream>,
    target: &Target,
    headers: Headers,
    body: String,
) -> Result<Answer, CallError> {
    let request = request(target, headers, body);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| call_error(&error))?;
    let mut connection: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        // Whatever ends it early, the other half hears of it.
        let _ = connection.await;
    });
    let mut head = std::pin::pin!(sender.send_request(request));
    let head = tokio::select! {
        biased;
        head = &mut head => head,
        () = &mut connection => head.await,
    };
    let head = head.map_err(|error| call_error(&error))?;
    Ok(Answer { head, connection })
}

fn request(target: &Target, headers: Headers, body: String) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri(target.path())
        .header(HOST, target.authority())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("slipway/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .header("webhook-id", headers.id)
        .header("webhook-timestamp", headers.timestamp)
        .header("webhook-signature", headers.signature)
        .body(Full::new(Bytes::from(body)))
        .expect("a checked URL and plain ASCII make a request")
}

impl Answer {
    /// Reads the beginning of the body, until the deadline, and closes the connection.
    pub(super) async fn read(self, deadline: Instant) -> Response {
        let (head, mut incoming) = self.head.into_parts();
        let mut connection = self.connection;
        let mut body = Vec::new();
        let reading = async {
            while let Some(Ok(frame)) = incoming.frame().await {
                if let Some(data) = frame.data_ref() {
                    let room = BODY_LIMIT - body.len();
                    body.extend_from_slice(&data[..data.len().min(room)]);
                }
                if body.len() == BODY_LIMIT {
                    break;
                }
            }
        };
        let mut reading = std::pin::pin!(reading);
        let whole = async {
            tokio::select! {
                biased;
                () = &mut reading => {}
                () = &mut connection => reading.await,
            }
        };
        // What has come by the deadline is kept.
        let _ = tokio::time::timeout_at(deadline, whole).await;
        Response {
            status: head.status.as_u16(),
            body: text(&body),
            retry_after: retry_after(&head.headers),
        }
    }
}

/// Text that Postgres can store: UTF-8 without null bytes.
fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).replace('\0', "\u{fffd}")
}

/// Seconds, or a date (RFC 9110, 10.2.3). Anything else is as good as nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(
        at.duration_since(SystemTime::now())
            .unwrap_or(Duration::ZERO),
    )
}

fn call_error(error: &hyper::Error) -> CallError {
    if error.is_parse_too_large() {
        CallError::TooLarge
    } else if error.is_parse() {
        CallError::NotHttp
    } else {
        CallError::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::webhooks::Targets;

    #[test]
    fn every_target_makes_a_request() {
        for c in ('\0'..='\u{1ff}').chain(['\u{1f980}']) {
            for url in [
                format!("https://a{c}b.example/"),
                format!("https://example.com/a{c}b"),
                format!("https://example.com/?a{c}b"),
            ] {
                let Ok(target) = Target::parse(&url, Targets::Public) else {
                    continue;
                };
                let headers = Headers {
                    id: "id".to_owned(),
                    timestamp: 0,
                    signature: "v1,".to_owned(),
                };
                let request = request(&target, headers, String::new());
                assert_eq!(request.uri(), target.path(), "{url}");
                assert_eq!(request.headers()[HOST], target.authority(), "{url}");
            }
        }
    }

    #[test]
    fn any_bytes_become_text_that_can_be_stored() {
        assert_eq!(text(b"a\0b\xffc"), "a\u{fffd}b\u{fffd}c");
        let most = text(&[0; BODY_LIMIT]);
        assert!(most.len() <= 16 * 1024, "the column's limit");
    }

    #[test]
    fn the_time_to_come_back_is_seconds_or_a_date() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read(" 120 "), Some(Duration::from_secs(120)));
        let later = SystemTime::now() + Duration::from_secs(3600);
        let wait = read(&httpdate::fmt_http_date(later)).unwrap();
        assert!((3590..=3600).contains(&wait.as_secs()), "{wait:?}");
        let past = read("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(past, Some(Duration::ZERO));
        for wrong in ["soon", "-1", "1.5", "", "99999999999999999999999"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
