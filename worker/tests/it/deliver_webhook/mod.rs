//! The job `deliver_webhook`: from an event to its receiver.

mod answers;
mod endings;
mod kills;
mod receiver;
mod targets;
mod turns;

use std::sync::Arc;

use domain::jobs::DeliverWebhook;
use domain::webhooks::{
    Answer, Delivery, DeliveryState, Endpoint, EventType, IdempotencyKey, Keys, NewEndpoint,
    NewEvent, Target, Targets, accept_event, create_endpoint, find_delivery, find_endpoint,
    list_deliveries, rotate_secret,
};
use migrations::testing::{TestDatabase, database};
use queue::testing::{Outcome, perform_envelope};
use serde_json::value::RawValue;
use service::metrics::Metrics;
use service::settings;
use sqlx::PgPool;
use uuid::Uuid;
use worker::App;
use worker::jobs::registry;
use worker::mail::Mailer;
use worker::metrics::Counts;
use worker::webhook::{Sender, System};

use self::receiver::{Receiver, status};

const OLD_KEY: &str = "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T";
const KEY: &str = "hT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e";

/// An account with an endpoint, and all that the job works with.
struct Fixture {
    database: TestDatabase,
    dir: tempfile::TempDir,
    app: Arc<App>,
    account: Uuid,
    endpoint: Uuid,
    secret: String,
}

impl Fixture {
    /// An endpoint at this URL, which may be private.
    async fn new(url: &str) -> Self {
        Self::with(url, Sender::new(Targets::Any, System)).await
    }

    async fn with(url: &str, webhooks: Sender) -> Self {
        let database = database().await;
        let dir = tempfile::tempdir().unwrap();
        let mailer = Mailer::new(&settings::Mail {
            from: "Slipway <no-reply@example.org>".to_owned(),
            dir: dir.path().to_owned(),
            smtp: None,
        })
        .unwrap();
        let account = sqlx::query_scalar(
            "INSERT INTO accounts (id, email, email_key, password_hash, verified_at)
             VALUES ($1, $2, $2, '$argon2id$', now()) RETURNING id",
        );
        let account = account.bind(Uuid::now_v7()).bind("ada@example.com");
        let account: Uuid = account.fetch_one(&database.pool).await.unwrap();
        let keys = keys();
        let new = NewEndpoint {
            url: &Target::parse(url, Targets::Any).unwrap(),
            description: "",
            event_types: &[],
        };
        let made = create_endpoint(&database.pool, &keys, account, new);
        let (endpoint, secret) = made.await.unwrap();
        let app = App {
            pool: database.pool.clone(),
            mailer,
            public_url: "https://app.example.org".to_owned(),
            webhook_keys: keys,
            webhooks,
            counts: Counts::new(&Metrics::new("worker", "test")),
        };
        Self {
            database,
            dir,
            app: Arc::new(app),
            account,
            endpoint: endpoint.id,
            secret: secret.expose(),
        }
    }

    fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    /// Something happens; returns the delivery about it.
    async fn event(&self, data: &str) -> Uuid {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        let event = NewEvent {
            kind: &EventType::parse("invoice.paid").unwrap(),
            data: &data,
        };
        let key = IdempotencyKey::parse(&Uuid::now_v7().to_string()).unwrap();
        let accepted = accept_event(self.pool(), self.account, &key, [0; 32], event);
        assert_eq!(accepted.await.unwrap().deliveries, 1);
        self.waiting().await.pop().unwrap().1.delivery_id
    }

    /// The jobs that deliver, oldest first.
    async fn waiting(&self) -> Vec<(queue::Envelope, DeliverWebhook)> {
        let waiting = outbox::testing::enqueued::<DeliverWebhook>(self.pool()).await;
        let waiting = waiting.into_iter();
        waiting.map(|one| (one.envelope, one.job)).collect()
    }

    async fn perform(&self, envelope: &queue::Envelope) -> Outcome {
        perform_envelope(&registry(), Arc::clone(&self.app), envelope).await
    }

    /// Makes the attempt that waits, and returns what the delivery's row then says.
    async fn attempt(&self) -> Answer {
        let (envelope, job) = self.waiting().await.remove(0);
        assert_eq!(self.perform(&envelope).await, Outcome::Done);
        self.delivery(job.delivery_id).await
    }

    async fn delivery(&self, id: Uuid) -> Answer {
        let found = find_delivery(self.pool(), self.account, self.endpoint, id);
        found.await.unwrap().unwrap()
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        let listed = list_deliveries(self.pool(), self.endpoint, None, None, None, 100);
        listed.await.unwrap()
    }

    async fn endpoint(&self) -> Endpoint {
        let found = find_endpoint(self.pool(), self.account, self.endpoint);
        found.await.unwrap().unwrap()
    }

    /// Replaces the secret by one of these keys.
    async fn rotate(&self, keys: &Keys) -> String {
        let rotated = rotate_secret(self.pool(), keys, self.account, self.endpoint, None);
        rotated.await.unwrap().1.expose()
    }

    async fn run(&self, statement: &'static str) {
        sqlx::query(statement).execute(self.pool()).await.unwrap();
    }

    /// Sends the mails that wait, and returns all that were sent.
    async fn mails(&self) -> Vec<String> {
        for mail in outbox::testing::enqueued::<domain::jobs::SendEmail>(self.pool()).await {
            assert_eq!(self.perform(&mail.envelope).await, Outcome::Done);
        }
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        files
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect()
    }
}

fn keys() -> Keys {
    Keys::new(&[KEY.into(), OLD_KEY.into()])
}

#[tokio::test]
async fn an_event_arrives_as_the_standard_has_it() {
    let receiver = Receiver::start([receiver::with(202, "", "thank you")]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    let data = r#"{"amount": 1.10, "name": "Zoë \u2603",   "n": 12345678901234567890123}"#;
    let id = fixture.event(data).await;
    let made = fixture.attempt().await;

    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert!(request.is_signed_by(&fixture.secret));
    assert!(!request.is_signed_by("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"));
    assert_eq!(request.line, "POST /hooks?key=1 HTTP/1.1");
    assert_eq!(request.header("host"), receiver.addr.to_string());
    assert_eq!(request.header("content-type"), "application/json");
    let agent = concat!("slipway/", env!("CARGO_PKG_VERSION"));
    assert_eq!(request.header("user-agent"), agent);
    let event = made.delivery.event_id.to_string();
    assert_eq!(request.header("webhook-id"), event);
    assert!(!request.header("webhook-signature").contains(' '));
    // To the last digit and space, as it was accepted.
    assert!(
        request
            .body
            .starts_with(r#"{"type":"invoice.paid","timestamp":"20"#)
    );
    assert!(
        request.body.ends_with(&format!(r#"Z","data":{data}}}"#)),
        "{}",
        request.body
    );

    assert_eq!(made.delivery.id, id);
    assert_eq!(made.delivery.state, DeliveryState::Delivered);
    assert_eq!(made.delivery.attempts, 1);
    assert_eq!(made.delivery.response_status, Some(202));
    assert_eq!(made.response_body.as_deref(), Some("thank you"));
    assert_eq!(made.delivery.error, None);
    assert_eq!(made.delivery.next_attempt_at, None);
    assert!(made.delivery.duration_ms.is_some() && made.delivery.attempted_at.is_some());
    assert!(fixture.waiting().await.is_empty());
    // Nothing was written to an endpoint that is well.
    assert_eq!(fixture.endpoint().await.version, 1);
}

#[tokio::test]
async fn a_job_that_comes_twice_delivers_once() {
    let receiver = Receiver::start([status(204)]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    fixture.event("{}").await;
    let (envelope, _) = fixture.waiting().await.remove(0);
    for _ in 0..3 {
        assert_eq!(fixture.perform(&envelope).await, Outcome::Done);
    }
    assert_eq!(receiver.connections(), 1);

    // Two copies at once: both may send, and one of them notes it.
    fixture.event("{}").await;
    let (envelope, job) = fixture.waiting().await.remove(0);
    let both = tokio::join!(fixture.perform(&envelope), fixture.perform(&envelope));
    assert_eq!(both, (Outcome::Done, Outcome::Done));
    assert_eq!(fixture.delivery(job.delivery_id).await.delivery.attempts, 1);
}

#[tokio::test]
async fn during_an_overlap_both_secrets_sign() {
    let receiver = Receiver::start([status(200)]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    // The one between is of the older of the service's keys.
    let middle = fixture.rotate(&Keys::new(&[OLD_KEY.into()])).await;
    let new = fixture.rotate(&keys()).await;
    fixture.event("{}").await;
    fixture.attempt().await;
    let request = receiver.requests().pop().unwrap();
    assert!(request.is_signed_by(&middle) && request.is_signed_by(&new));
    assert!(
        !request.is_signed_by(&fixture.secret),
        "the one before ends"
    );

    fixture
        .run("UPDATE webhook_endpoints SET old_secret_until = now() - interval '1 second'")
        .await;
    fixture.event("{}").await;
    fixture.attempt().await;
    let request = receiver.requests().pop().unwrap();
    assert!(request.is_signed_by(&new) && !request.is_signed_by(&middle));
}

#[tokio::test]
async fn a_secret_whose_key_is_gone_signs_nothing() {
    let receiver = Receiver::start([status(200)]).await;
    let fixture = Fixture::new(&receiver.url()).await;
    fixture
        .run("UPDATE webhook_endpoints SET secret_key_id = '00000000'")
        .await;
    fixture.event("{}").await;
    let made = fixture.attempt().await;
    assert_eq!(receiver.connections(), 0);
    let error = made.delivery.error.unwrap();
    assert_eq!(error, "the endpoint's secret is lost: rotate it");
    assert_eq!(made.delivery.state, DeliveryState::Pending);

    // That we lost it is not held against the endpoint, however long it has failed before.
    assert_eq!(fixture.endpoint().await.failing_since, None);
    fixture
        .run("UPDATE webhook_endpoints SET failing_since = now() - interval '6 days'")
        .await;
    let again = fixture.attempt().await.delivery;
    assert_eq!((again.attempts, again.state), (2, DeliveryState::Pending));
    assert!(fixture.endpoint().await.disabled_at.is_none());
}
