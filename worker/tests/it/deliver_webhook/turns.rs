//! One account's receivers, and what another account is told meanwhile.

use domain::webhooks::{
    EventType, IdempotencyKey, NewEndpoint, NewEvent, Target, Targets, accept_event,
    create_endpoint,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::receiver::{Answer, Receiver, status};
use super::{Fixture, KEY, keys};
use crate::process::Process;
use crate::until;

impl Fixture {
    async fn add_endpoint(&self, account: Uuid, url: &str) {
        let new = NewEndpoint {
            url: &Target::parse(url, Targets::Any).unwrap(),
            description: "",
            event_types: &[],
        };
        let keys = keys();
        create_endpoint(self.pool(), &keys, account, new)
            .await
            .unwrap();
    }

    /// Something happens to this account; returns how many endpoints are told.
    async fn event_of(&self, account: Uuid) -> i32 {
        let event = NewEvent {
            kind: &EventType::parse("invoice.paid").unwrap(),
            data: &RawValue::from_string("{}".to_owned()).unwrap(),
        };
        let key = IdempotencyKey::parse(&Uuid::now_v7().to_string()).unwrap();
        let accepted = accept_event(self.pool(), account, &key, [0; 32], event);
        accepted.await.unwrap().deliveries
    }
}

#[tokio::test]
async fn an_account_whose_fifty_endpoints_hang_holds_up_no_other() {
    let hanging = Receiver::start([Answer::Hang]).await;
    let fixture = Fixture::new(&hanging.url()).await;
    for _ in 1..50 {
        fixture.add_endpoint(fixture.account, &hanging.url()).await;
    }
    let eve = sqlx::query_scalar(
        "INSERT INTO accounts (id, email, email_key, password_hash, verified_at)
         VALUES ($1, 'eve@example.com', 'eve@example.com', '$argon2id$', now()) RETURNING id",
    );
    let eve: Uuid = eve
        .bind(Uuid::now_v7())
        .fetch_one(fixture.pool())
        .await
        .unwrap();
    let fine = Receiver::start([status(204)]).await;
    fixture.add_endpoint(eve, &fine.url()).await;
    for _ in 0..2 {
        assert_eq!(fixture.event_of(fixture.account).await, 50);
    }
    assert_eq!(fixture.event_of(eve).await, 1);

    let mut process = Process::new(&fixture.database, fixture.dir.path());
    process.set("WEBHOOK_SECRET", &KEY);
    process.set("WEBHOOK_ALLOW_PRIVATE", &true);
    let worker = process.run();
    until("Eve is told", async || fine.connections() == 1).await;
    // A hundred were enqueued before hers.
    let before = hanging.connections();
    assert!(before < 50, "{before} of the other account's came first");
    worker.kill();
}
