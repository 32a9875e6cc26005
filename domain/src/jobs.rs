//! The payloads of the product's jobs. What they do stands in `worker/src/jobs/`.
//!
//! A payload is stored in Postgres and Redis and may be read by the next release or the one
//! before: add fields with `#[serde(default)]`, and raise `VERSION` when that does not do.
//! It holds ids rather than data, and never a secret.

use std::time::Duration;

use queue::Job as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Every queue that has some of them: a worker serves these, and the jobs page shows these.
pub const QUEUES: [&str; 2] = [SendEmail::QUEUE, DeliverWebhook::QUEUE];

/// Sends one mail to one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendEmail {
    /// The address, already checked.
    pub to: String,
    /// What the mail says.
    pub template: Mail,
}

/// The mails there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mail {
    /// "Confirm your address", with a token that is made when the mail is sent.
    VerifyAddress {
        /// Whose address.
        account_id: Uuid,
        /// Whose password the token is for.
        sign_up_id: Uuid,
    },
    /// "Somebody tried to sign up with your address": the answer to a sign-up for a known one.
    AlreadyRegistered,
    /// "We send no more events to your endpoint", and why.
    WebhookDisabled {
        /// Which endpoint; the rest is looked up when the mail is sent.
        endpoint_id: Uuid,
    },
    /// "Your address is confirmed already": the answer to a resend for such a one.
    AlreadyVerified,
    /// "Choose a new password", with a token that is made when the mail is sent; nothing when the
    /// address has no account then.
    ResetPassword,
    /// "Your password was changed".
    PasswordChanged,
    /// "Confirm your new address", with a token that is made when the mail is sent. Where somebody
    /// else has the address by then, it says so instead.
    ConfirmNewAddress {
        /// Which request.
        email_change_id: Uuid,
    },
    /// "Somebody wants to move your account to another address", to the one it has.
    AddressChangeRequested,
    /// "Your account has another address now", to the one it had.
    AddressChanged,
    /// "Your account was deleted".
    AccountDeleted,
}

impl queue::Job for SendEmail {
    const NAME: &'static str = "send_email";
    /// 2 has more templates, which a worker of version 1 could not read: it parks them.
    const VERSION: u16 = 2;
    const OLDEST_VERSION: u16 = 1;

    fn upcast(
        _from: u16,
        payload: serde_json::Value,
    ) -> Result<serde_json::Value, Box<dyn std::error::Error + Send + Sync>> {
        Ok(payload)
    }
}

/// Sends the mails of all sign-ups with one address again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResendVerification {
    /// The address, already checked. Whether it has an account is the worker's to find out.
    pub email: String,
}

impl queue::Job for ResendVerification {
    const NAME: &'static str = "resend_verification";
}

/// Tells one endpoint of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverWebhook {
    /// Which event and which endpoint stands in the delivery's row.
    pub delivery_id: Uuid,
    /// How many attempts have failed since the event was accepted or replayed; each is a job.
    #[serde(default)]
    pub retries: u16,
}

impl DeliverWebhook {
    /// The first attempt at this delivery.
    pub fn new(delivery_id: Uuid) -> Self {
        Self {
            delivery_id,
            retries: 0,
        }
    }
}

impl queue::Job for DeliverWebhook {
    const NAME: &'static str = "deliver_webhook";
    const QUEUE: &'static str = "webhooks";
    /// The receiver has 10 s; the rest is for what is noted before and after.
    const TIMEOUT: Duration = Duration::from_secs(30);
}

/// Forgets what has ended and what is old. It comes by itself, once an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {}

impl queue::Job for Purge {
    const NAME: &'static str = "purge";
    /// The next one comes soon enough.
    const MAX_ATTEMPTS: u16 = 3;
    /// The first one of a database that was never purged has much to do.
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30 * 60);
}
