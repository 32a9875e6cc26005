//! How often a client may try what costs much or could be guessed.
//!
//! A handler asks before it does the work, and before it knows whether there is such an account:
//!
//! ```
//! # use api::{App, client::Client, problem::Problem};
//! # use domain::accounts::Email;
//! async fn log_in(app: App, client: Client, email: Email) -> Result<(), Problem> {
//!     app.limits.log_in(&client, &email).await?;
//!     // Now the password.
//! #   Ok(())
//! }
//! ```
//!
//! Answers announce the limits as draft-ietf-httpapi-ratelimit-headers-10 has it. To limit
//! something else, add a [`Policy`] and a method here.

mod policy;

use domain::accounts::Email;
use queue::{
    Queue,
    limit::{Limit, Limiter, Quota},
};
use service::metrics::{
    Metrics,
    prometheus::{IntCounterVec, Opts},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use self::policy::{Policy, Quotas};
use crate::{client::Client, problem::Problem};

/// All limits, kept in Redis for all replicas together.
#[derive(Clone)]
pub struct Limits {
    limiter: Limiter,
    quotas: Quotas,
    refused: IntCounterVec,
}

/// A policy, and what stands for whom it counts.
type Counted<'a> = (Policy, &'a [&'a str]);

impl Limits {
    /// In the queue's Redis; what they refuse is counted.
    pub fn new(queue: &Queue, quotas: Quotas, metrics: &Metrics) -> Self {
        let refused = metrics.register(IntCounterVec::new(
            Opts::new(
                "http_server_limited_requests_total",
                "Requests that a limit has refused, by its policy.",
            ),
            &["policy"],
        ));
        // From the start: the first refusal is to be seen as a rise from 0.
        for policy in Policy::ALL {
            refused.with_label_values(&[policy.name()]);
        }
        Self {
            limiter: Limiter::new(queue),
            quotas,
            refused,
        }
    }

    /// Counts an attempt to log in; successful ones too, or a client could go on for ever by
    /// logging in to an account of its own in between.
    ///
    /// The narrow limit for a client and an account ends a client's guesses long before the wide
    /// one for the account does, which stands against many clients that guess together.
    ///
    /// # Errors
    /// 429, 503.
    pub async fn log_in(&self, client: &Client, email: &Email) -> Result<(), Problem> {
        let (address, account) = (client.network().to_string(), email.key());
        self.take(
            client,
            &[
                (Policy::LogInByAddress, &[&address]),
                (Policy::LogInByAddressAndAccount, &[&address, &account]),
                (Policy::LogInByAccount, &[&account]),
            ],
        )
        .await
    }

    /// Counts a sign-up, each of which sends a mail.
    ///
    /// # Errors
    /// 429, 503.
    pub async fn sign_up(&self, client: &Client, email: &Email) -> Result<(), Problem> {
        let (address, account) = (client.network().to_string(), email.key());
        self.take(
            client,
            &[
                (Policy::SignUpByAddress, &[&address]),
                (Policy::SignUpByAddressAndAccount, &[&address, &account]),
                (Policy::SignUpByAccount, &[&account]),
            ],
        )
        .await
    }

    /// Counts a token of a mail, right or wrong.
    ///
    /// # Errors
    /// 429, 503.
    pub async fn token(&self, client: &Client) -> Result<(), Problem> {
        let address = client.network().to_string();
        self.take(client, &[(Policy::TokenByAddress, &[&address])])
            .await
    }

    /// Counts a mail that anybody may ask for, of this kind.
    ///
    /// Those of one kind to an address are counted apart: whoever asks for all the mails of another
    /// kind that it may get must not keep its owner from a reset.
    ///
    /// # Errors
    /// 429, 503.
    pub async fn mail(&self, client: &Client, kind: &str, to: &Email) -> Result<(), Problem> {
        let (address, account) = (client.network().to_string(), to.key());
        self.take(
            client,
            &[
                (Policy::MailByAddress, &[&address]),
                (Policy::MailByAccount, &[kind, &account]),
            ],
        )
        .await
    }

    /// Counts a password that is asked for once more, of the account that is logged in.
    ///
    /// # Errors
    /// 429, 503.
    pub async fn password(&self, client: &Client, account_id: Uuid) -> Result<(), Problem> {
        let account = account_id.to_string();
        self.take(client, &[(Policy::PasswordByAccount, &[&account])])
            .await
    }

    /// Counts both for a change of the address: the password, and the mail to the new one.
    ///
    /// # Errors
    /// 429, 503.
    pub async fn change_email(
        &self,
        client: &Client,
        account_id: Uuid,
        to: &Email,
    ) -> Result<(), Problem> {
        let (account, to) = (account_id.to_string(), to.key());
        self.take(
            client,
            &[
                (Policy::PasswordByAccount, &[&account]),
                (Policy::MailByAddress, &[&client.network().to_string()]),
                (Policy::MailByAccount, &["change", &to]),
            ],
        )
        .await
    }

    /// Counts a refresh: not what could be guessed, but each writes a row.
    ///
    /// # Errors
    /// 429, 503.
    pub async fn refresh(&self, client: &Client) -> Result<(), Problem> {
        let address = client.network().to_string();
        self.take(client, &[(Policy::RefreshByAddress, &[&address])])
            .await
    }

    async fn take(&self, client: &Client, counted: &[Counted<'_>]) -> Result<(), Problem> {
        let limits: Vec<(Policy, String, Limit)> = counted
            .iter()
            .map(|(policy, whom)| (*policy, key(*policy, whom), self.quotas.of(*policy)))
            .collect();
        let asked: Vec<(&str, Limit)> = limits
            .iter()
            .map(|(_, key, limit)| (key.as_str(), *limit))
            .collect();
        let taken = self.limiter.take(&asked).await?;
        let counted = || limits.iter().zip(&taken.quotas);
        let refusing = || counted().filter(|(_, quota)| !taken.allowed && quota.remaining == 0);
        let policies = limits.iter().map(|(policy, _, limit)| {
            let (name, quota, window) = (policy.name(), limit.requests, limit.per.as_secs());
            format!("\"{name}\";q={quota};w={window}")
        });
        let quotas: Vec<String> = if taken.allowed {
            let own = counted().filter(|((policy, ..), _)| !policy.is_shared());
            own.map(item).collect()
        } else {
            refusing().map(item).collect()
        };
        client.announce(policies.collect(), quotas);
        let Some(((policy, ..), _)) = refusing().next() else {
            return Ok(());
        };
        // Whoever defends the service needs the address; it stands in no other line.
        let (policy, address) = (policy.name(), client.network());
        tracing::info!(policy, client.address = %address, "refused by a limit");
        self.refused.with_label_values(&[policy]).inc();
        Err(Problem::too_many_requests(taken.retry_after()))
    }
}

/// What is left of a policy, as an item of `RateLimit`.
fn item(((policy, ..), quota): (&(Policy, String, Limit), &Quota)) -> String {
    let (name, left) = (policy.name(), quota.remaining);
    let seconds = quota.more_in.as_millis().div_ceil(1000);
    format!("\"{name}\";r={left};t={seconds}")
}

/// The name of a limit in Redis: nothing that a client sends, and nobody's address, is in it.
fn key(policy: Policy, whom: &[&str]) -> String {
    // Neither an address nor the key of an e-mail address has a space.
    let digest = Sha256::digest(whom.join(" "));
    let half = digest.iter().take(16).map(|byte| format!("{byte:02x}"));
    format!("{}:{}", policy.name(), half.collect::<String>())
}
