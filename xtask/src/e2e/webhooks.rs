//! What an account's programs do with webhooks.

use anyhow::{Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

use super::Run;

/// How long the first attempt of a delivery may take to be made on an idle stack, name look-up
/// included.
const ATTEMPT: Duration = Duration::from_secs(20);

/// An event that is sent twice is one, and its delivery tells of its attempt.
///
/// The receiver's name never resolves (RFC 6761, section 6.4), so the stack calls nobody in either
/// mode, and the attempt has to fail with a reason.
pub(super) fn deliveries(run: &Run) -> Result<String> {
    let token = run.log_in(&run.verified_account()?)?;
    let client = &run.client;
    let endpoint = json!({"url": "https://receiver.invalid/hooks", "event_types": ["invoice.*"]});
    let made = client.post_as("/v1/webhooks", &token, &[], &endpoint)?;
    let made = made.expect(201)?;
    ensure!(
        made.text("secret")?.starts_with("whsec_"),
        "no secret: {}",
        made.body
    );
    let path = format!("/v1/webhooks/{}", made.text("id")?);

    let key = [("idempotency-key", "invoice-117")];
    let event = json!({"type": "invoice.paid", "data": {"invoice": 117}});
    let first = client
        .post_as("/v1/events", &token, &key, &event)?
        .expect(202)?;
    let again = client
        .post_as("/v1/events", &token, &key, &event)?
        .expect(202)?;
    ensure!(
        first.body == again.body && again.header("idempotency-replayed") == Some("true"),
        "{} and then {}",
        first.body,
        again.body
    );
    let other = json!({"type": "invoice.paid", "data": {"invoice": 118}});
    client
        .post_as("/v1/events", &token, &key, &other)?
        .expect_problem(422)?;

    let start = Instant::now();
    let list = format!("{path}/deliveries");
    loop {
        let page = client.get_as(&list, &token)?.expect(200)?.json()?;
        let deliveries = page["data"].as_array().map_or(0, Vec::len);
        ensure!(
            deliveries == 1,
            "{deliveries} deliveries of one event: {page}"
        );
        let delivery = &page["data"][0];
        if delivery["attempts"] == 1 {
            ensure!(
                delivery["state"] == "pending" && delivery["error"].is_string(),
                "of an endpoint that is not there: {delivery}"
            );
            break;
        }
        ensure!(start.elapsed() < ATTEMPT, "no attempt was made: {delivery}");
        crate::clock::pause(Duration::from_millis(100));
    }
    let tried = start.elapsed().as_secs_f64();
    client.delete_as(&path, &token)?.expect(204)?;
    client.get_as(&list, &token)?.expect_problem(404)?;
    Ok(format!("tried {tried:.1} s after"))
}
