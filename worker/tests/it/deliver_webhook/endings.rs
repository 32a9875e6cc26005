//! Endpoints that are disabled or deleted, by their owner or by what they answer.

use domain::webhooks::{Change, DeliveryState, change_endpoint, delete_endpoint};
use queue::testing::Outcome;

use super::Fixture;
use super::receiver::{Receiver, status};

impl Fixture {
    async fn enable(&self, enabled: bool) {
        let change = Change {
            enabled: Some(enabled),
            ..Change::default()
        };
        let changed = change_endpoint(self.pool(), self.account, self.endpoint, None, change);
        changed.await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_for_an_endpoint_that_is_disabled_is_given_up() {
    let receiver = Receiver::start([status(200)]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    fixture.event("{}").await;
    fixture.enable(false).await;
    let made = fixture.attempt().await.delivery;
    assert_eq!((made.state, made.attempts), (DeliveryState::Failed, 0));
    let error = made.error.unwrap();
    assert_eq!(
        error,
        "the endpoint was disabled before this could be delivered"
    );
    assert_eq!(receiver.connections(), 0);
    assert!(fixture.waiting().await.is_empty());
    assert!(fixture.mails().await.is_empty(), "its owner knows");
}

#[tokio::test]
async fn what_waits_for_an_endpoint_that_is_deleted_ends() {
    let receiver = Receiver::start([status(200)]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    fixture.event("{}").await;
    let (envelope, _) = fixture.waiting().await.remove(0);
    let deleted = delete_endpoint(fixture.pool(), fixture.account, fixture.endpoint, None);
    deleted.await.unwrap();
    assert_eq!(fixture.perform(&envelope).await, Outcome::Done);
    assert_eq!(receiver.connections(), 0);
    assert!(fixture.waiting().await.is_empty());
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_at_once_and_its_owner_told() {
    let receiver = Receiver::start([status(410)]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    fixture.event("{}").await;
    fixture.event("{}").await;
    let made = fixture.attempt().await.delivery;
    assert_eq!(
        (made.state, made.response_status),
        (DeliveryState::Failed, Some(410))
    );
    let endpoint = fixture.endpoint().await;
    assert!(endpoint.disabled_at.is_some());
    // What came after it is not sent.
    let second = fixture.attempt().await.delivery;
    assert_eq!((second.state, second.attempts), (DeliveryState::Failed, 0));
    assert_eq!(receiver.connections(), 1);

    let mails = fixture.mails().await;
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert!(mail.contains("To: ada@example.com"));
    assert!(mail.contains("Subject: Your webhook endpoint is disabled"));
    assert!(
        mail.contains("410 Gone") && !mail.contains("5 days"),
        "{mail}"
    );
    // In both forms; the path may be a secret.
    assert_eq!(
        mail.matches(&receiver.addr.to_string()).count(),
        2,
        "{mail}"
    );
    assert!(mail.contains(&fixture.endpoint.to_string()));
    assert!(!mail.contains("hooks?key"), "{mail}");
    assert!(mail.is_ascii() && mail.lines().all(|line| line.len() <= 100));
    for word in ["src=", "<img", "<script", "<link", "url(", "{{", "{%"] {
        assert!(!mail.contains(word), "{word}\n{mail}");
    }
}

#[tokio::test]
async fn five_days_of_failure_disable_an_endpoint_and_a_success_forgets_them() {
    let answers = [500, 500, 200, 500, 500].map(status);
    let receiver = Receiver::start(answers).await;
    let fixture = Fixture::new(&receiver.url()).await;
    let age = "UPDATE webhook_endpoints SET failing_since = failing_since - interval '5 days'";
    let nearly = "UPDATE webhook_endpoints
                  SET failing_since = failing_since - interval '4 days 23 hours'";
    fixture.event("{}").await;
    fixture.attempt().await;
    fixture.run(nearly).await;
    assert_eq!(
        fixture.attempt().await.delivery.state,
        DeliveryState::Pending
    );
    assert!(fixture.endpoint().await.disabled_at.is_none());
    assert_eq!(
        fixture.attempt().await.delivery.state,
        DeliveryState::Delivered
    );

    fixture.event("{}").await;
    fixture.attempt().await;
    assert!(fixture.endpoint().await.disabled_at.is_none());
    fixture.run(age).await;
    let before = fixture.endpoint().await;
    let last = fixture.attempt().await.delivery;
    assert_eq!(
        (last.state, last.next_attempt_at),
        (DeliveryState::Failed, None)
    );
    let endpoint = fixture.endpoint().await;
    assert!(endpoint.disabled_at.is_some() && endpoint.failing_since.is_some());
    assert_eq!(endpoint.version, before.version + 1);
    assert!(fixture.waiting().await.is_empty());
    let mails = fixture.mails().await;
    assert_eq!(mails.len(), 1);
    assert!(
        mails[0].contains("5 days") && !mails[0].contains("410 Gone"),
        "{}",
        mails[0]
    );
    assert_eq!(fixture.deliveries().await.len(), 2);
}

#[tokio::test]
async fn an_owner_who_was_quicker_gets_no_mail() {
    let receiver = Receiver::start([status(410)]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    fixture.event("{}").await;
    fixture.attempt().await;
    fixture.enable(true).await;
    assert!(fixture.mails().await.is_empty());
}
