//! One attempt at a delivery: what is sent, and whether there is anything to send.

use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Keys;
use crate::Error;

/// What there is to do for a delivery.
#[derive(Debug)]
pub enum Due {
    /// It is to be sent.
    Attempt(Attempt),
    /// Its endpoint is disabled.
    Disabled,
    /// It was delivered or given up, or is gone with its endpoint or event.
    Nothing,
}

/// What is sent, and where to.
#[derive(Debug)]
pub struct Attempt {
    /// Where to, as it was when the owner typed it: what may be called now has to be asked again.
    pub url: String,
    /// The event's id, by which a receiver tells doubles.
    pub event_id: Uuid,
    /// The event, as JSON.
    pub body: String,
    /// What its secrets are derived from, the present one first: a key's id and a salt.
    secrets: Vec<(String, Vec<u8>)>,
}

/// Why an endpoint is told of nothing any more, for the mail about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Disabled {
    /// Where it is.
    pub url: String,
    /// It answered 410; otherwise it has failed for [`FAILING_DAYS`](super::FAILING_DAYS).
    pub gone: bool,
    /// Since when.
    pub at: OffsetDateTime,
}

impl Attempt {
    /// The header `webhook-signature`: one signature, or two while a secret is being replaced.
    ///
    /// `None` when the key of the present secret is there no more.
    pub fn signatures(&self, keys: &Keys, timestamp: i64) -> Option<String> {
        let id = self.event_id.to_string();
        let mut signatures = String::new();
        for (at, (key_id, salt)) in self.secrets.iter().enumerate() {
            let Some(secret) = keys.derive(key_id, salt) else {
                if at == 0 {
                    return None;
                }
                continue;
            };
            if at > 0 {
                signatures.push(' ');
            }
            signatures.push_str(&secret.sign(&id, timestamp, self.body.as_bytes()));
        }
        Some(signatures)
    }
}

/// Looks up what there is to do for a delivery.
///
/// # Errors
/// When the database cannot be asked.
pub async fn due(pool: &PgPool, delivery_id: Uuid) -> Result<Due, Error> {
    let row = sqlx::query!(
        r#"SELECT event_id, url, disabled_at, secret_key_id, secret_salt,
                  CASE WHEN old_secret_until > now() THEN old_secret_key_id END AS old_key_id,
                  old_secret_salt, type AS kind, data::text AS "data!", event.created_at
           FROM webhook_deliveries AS delivery
           JOIN webhook_endpoints AS endpoint ON endpoint.id = endpoint_id
           JOIN events AS event ON event.id = event_id
           WHERE delivery.id = $1 AND state = 'pending'"#,
        delivery_id,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else {
        return Ok(Due::Nothing);
    };
    if row.disabled_at.is_some() {
        return Ok(Due::Disabled);
    }
    let mut secrets = vec![(row.secret_key_id, row.secret_salt)];
    secrets.extend(row.old_key_id.zip(row.old_secret_salt));
    Ok(Due::Attempt(Attempt {
        url: row.url,
        event_id: row.event_id,
        body: body(&row.kind, row.created_at, &row.data),
        secrets,
    }))
}

/// Why the endpoint is disabled; `None` when it is not, by whatever its owner did meanwhile.
///
/// # Errors
/// When the database cannot be asked.
pub async fn disabled(pool: &PgPool, endpoint_id: Uuid) -> Result<Option<Disabled>, Error> {
    let disabled = sqlx::query_as!(
        Disabled,
        r#"SELECT url, disabled_reason = 'gone' AS "gone!", disabled_at AS "at!"
           FROM webhook_endpoints WHERE id = $1 AND disabled_reason IN ('gone', 'failing')"#,
        endpoint_id,
    )
    .fetch_optional(pool)
    .await?;
    Ok(disabled)
}

/// What a receiver reads. `data` goes in as it is stored: to parse it could change its numbers.
fn body(kind: &str, at: OffsetDateTime, data: &str) -> String {
    // A type has no character that JSON would escape; the table sees to that.
    let at = at
        .format(&Rfc3339)
        .expect("a time of this era has this form");
    format!(r#"{{"type":"{kind}","timestamp":"{at}","data":{data}}}"#)
}
