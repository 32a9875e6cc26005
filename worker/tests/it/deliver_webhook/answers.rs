//! What receivers answer, and what follows from it.

use std::time::{Duration, Instant, SystemTime};

use domain::webhooks::{Answer, DeliveryState};
use time::OffsetDateTime;

use super::Fixture;
use super::receiver::{self, Receiver, status, with};

/// The answer to one attempt at a receiver that answers so.
async fn attempt(answer: receiver::Answer) -> (Answer, Receiver, Fixture) {
    let receiver = Receiver::start([answer]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    fixture.event("{}").await;
    (fixture.attempt().await, receiver, fixture)
}

fn seconds_left(answer: &Answer) -> i64 {
    let next = answer.delivery.next_attempt_at.unwrap();
    (next - OffsetDateTime::now_utc()).whole_seconds()
}

#[tokio::test]
async fn what_fails_is_tried_again_until_it_is_taken() {
    let answers = [with(500, "", "no"), status(404), status(200)];
    let receiver = Receiver::start(answers).await;
    let fixture = Fixture::new(&receiver.url()).await;
    fixture.event("{}").await;
    let first = fixture.attempt().await;
    assert_eq!(first.delivery.state, DeliveryState::Pending);
    assert_eq!(first.delivery.response_status, Some(500));
    assert_eq!(first.response_body.as_deref(), Some("no"));
    assert!((3..=6).contains(&seconds_left(&first)), "{first:?}");
    let failing = fixture.endpoint().await;
    assert!(failing.failing_since.is_some());

    // The next attempt is a job of its own, at the time that the row names.
    let next = outbox::testing::enqueued::<domain::jobs::DeliverWebhook>(fixture.pool()).await;
    assert_eq!((next.len(), next[0].job.retries), (1, 1));
    let planned = OffsetDateTime::from(next[0].run_at.unwrap());
    let apart = planned - first.delivery.next_attempt_at.unwrap();
    assert!(apart.abs() < Duration::from_millis(10), "{apart}");

    let second = fixture.attempt().await;
    assert_eq!(
        (second.delivery.attempts, second.delivery.response_status),
        (2, Some(404))
    );
    assert!((28..=36).contains(&seconds_left(&second)), "{second:?}");
    // Between the first failure and the next success, nothing is written to it.
    assert_eq!(fixture.endpoint().await.version, failing.version);
    let third = fixture.attempt().await;
    assert_eq!(third.delivery.state, DeliveryState::Delivered);
    assert_eq!(third.delivery.attempts, 3);
    assert_eq!(fixture.endpoint().await.failing_since, None);
    // Doubles can be told by their id.
    let requests = receiver.requests();
    assert!(
        requests
            .iter()
            .all(|r| r.header("webhook-id") == requests[0].header("webhook-id"))
    );
    assert!(
        requests
            .iter()
            .all(|request| request.is_signed_by(&fixture.secret))
    );
}

#[tokio::test]
async fn after_the_last_attempt_it_is_given_up() {
    let receiver = Receiver::start([status(500)]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    fixture.event("{}").await;
    for attempt in 1..=10 {
        let made = fixture.attempt().await.delivery;
        assert_eq!(
            (made.attempts, made.state),
            (attempt, DeliveryState::Pending)
        );
    }
    let last = fixture.attempt().await.delivery;
    assert_eq!((last.attempts, last.state), (11, DeliveryState::Failed));
    assert_eq!(
        (last.next_attempt_at, last.response_status),
        (None, Some(500))
    );
    assert!(fixture.waiting().await.is_empty());

    // A replay has all its attempts.
    let replayed =
        domain::webhooks::replay(fixture.pool(), fixture.account, fixture.endpoint, last.id);
    assert!(replayed.await.unwrap());
    let again = fixture.attempt().await.delivery;
    assert_eq!((again.attempts, again.state), (12, DeliveryState::Pending));
}

#[tokio::test]
async fn a_receiver_that_is_busy_says_for_how_long() {
    let in_an_hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    for (code, value, expected) in [
        (429, "120", 118..=120),
        (503, "120", 118..=120),
        (429, in_an_hour.as_str(), 3590..=3600),
        (429, "999999999", 28_790..=28_800),
        // What is no wait, or one shorter than ours, changes nothing.
        (429, "1", 4..=6),
        (429, "soon", 4..=6),
        (429, "Sun, 06 Nov 1994 08:49:37 GMT", 4..=6),
        (500, "120", 4..=6),
    ] {
        let header = format!("Retry-After: {value}\r\n");
        let (made, ..) = attempt(with(code, &header, "")).await;
        let left = seconds_left(&made);
        assert!(expected.contains(&left), "{code} {value}: {left}");
        assert_eq!(made.delivery.response_status, i16::try_from(code).ok());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start([status(200)]).await;
    for code in [301, 302, 303, 307, 308] {
        let location = format!("Location: {}\r\n", elsewhere.url());
        let (made, ..) = attempt(with(code, &location, "")).await;
        assert_eq!(made.delivery.state, DeliveryState::Pending);
        assert_eq!(made.delivery.response_status, i16::try_from(code).ok());
        let error = made.delivery.error.unwrap();
        assert!(error.starts_with("redirects are not followed"), "{error}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn who_does_not_answer_is_left_after_ten_seconds() {
    let answers = [
        receiver::Answer::Hang,
        receiver::Answer::Drip("HTTP/1.1 200 ".to_owned()),
        receiver::Answer::Drip("HTTP/1.1 200 OK\r\nA: ".to_owned()),
        // A whole answer that is not the answer yet.
        receiver::Answer::Drip("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ".to_owned()),
    ];
    let begun = Instant::now();
    let all = answers.map(|answer| async {
        let (made, ..) = attempt(answer).await;
        assert_eq!(made.delivery.state, DeliveryState::Pending);
        assert_eq!(made.delivery.response_status, None);
        let error = made.delivery.error.unwrap();
        assert_eq!(error, "the receiver did not answer within 10 seconds");
        assert!(made.delivery.duration_ms.unwrap() >= 10_000);
    });
    futures_util::future::join_all(all).await;
    assert!(begun.elapsed() >= Duration::from_secs(10));
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off_and_the_status_counts() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun ".to_owned();
    let (made, ..) = attempt(receiver::Answer::Drip(head)).await;
    assert_eq!(made.delivery.state, DeliveryState::Delivered);
    assert!(made.response_body.unwrap().starts_with("begun xx"));
}

#[tokio::test]
async fn of_a_hundred_megabytes_four_kilobytes_are_kept() {
    let size = 100 * 1024 * 1024;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    let (made, receiver, _fixture) = attempt(receiver::Answer::Endless(head)).await;
    assert_eq!(made.delivery.state, DeliveryState::Delivered);
    assert_eq!(made.response_body.unwrap(), "x".repeat(4096));
    // What was sent and not read lay in the buffers of the two sockets.
    assert!(receiver.sent() < 20 * 1024 * 1024, "{}", receiver.sent());
}

#[tokio::test]
async fn a_head_without_end_is_no_answer() {
    for head in ["HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 200 "] {
        let (made, receiver, _fixture) = attempt(receiver::Answer::Endless(head.to_owned())).await;
        assert_eq!(made.delivery.state, DeliveryState::Pending);
        assert_eq!(made.delivery.response_status, None);
        let error = made.delivery.error.unwrap();
        assert_eq!(
            error,
            "the head of the receiver's answer is longer than 16 KiB"
        );
        assert!(receiver.sent() < 20 * 1024 * 1024, "{}", receiver.sent());
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_counts_from_its_status_on() {
    for (answer, status, error) in [
        (
            "",
            None,
            Some("the receiver closed the connection before it had answered"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Le",
            None,
            Some("the receiver closed the connection before it had answered"),
        ),
        (
            "SSH-2.0-OpenSSH_9.9\r\n\r\n",
            None,
            Some("the receiver's answer is not HTTP/1.1"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nbegun",
            Some(200),
            None,
        ),
        (
            "HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\nbegun",
            Some(500),
            None,
        ),
    ] {
        let (made, ..) = attempt(receiver::Answer::Bytes(answer.to_owned())).await;
        assert_eq!(made.delivery.response_status, status, "{answer}");
        assert_eq!(made.delivery.error.as_deref(), error, "{answer}");
        let delivered = made.delivery.state == DeliveryState::Delivered;
        assert_eq!(delivered, status == Some(200), "{answer}");
        assert_eq!(made.response_body.is_some(), status.is_some(), "{answer}");
    }
}

#[tokio::test]
async fn whatever_is_in_a_body_can_be_stored() {
    let (made, ..) = attempt(with(200, "", "a\0b\u{1f980}")).await;
    assert_eq!(made.response_body.as_deref(), Some("a\u{fffd}b\u{1f980}"));
    let (made, ..) = attempt(with(500, "", &"\0".repeat(5000))).await;
    assert_eq!(made.response_body, Some("\u{fffd}".repeat(4096)));
}
