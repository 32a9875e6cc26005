//! Demo data for development: something to log in with and to look at.

use sqlx::PgPool;
use uuid::Uuid;

use crate::Error;
use crate::accounts::{self, Email, Password, Role};
use crate::webhooks::{
    self, Change, ChangeError, CreateError, EventFilter, Keys, NewEndpoint, Target, Targets,
};

/// The password of each account that [`seed`] makes. Whoever reads this knows it.
pub const PASSWORD: &str = "correct horse battery";

/// An account that there is after [`seed`].
#[derive(Debug)]
pub struct Seeded {
    /// Its address.
    pub email: &'static str,
    /// What it may do.
    pub role: Role,
    /// It was there before, so its password is whatever its owner has chosen.
    pub found: bool,
}

/// Why there is no demo data, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// An endpoint could not be made.
    #[error("an endpoint cannot be made")]
    Create(#[from] CreateError),
    /// An endpoint could not be changed.
    #[error("an endpoint cannot be changed")]
    Change(#[from] ChangeError),
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

/// Makes an admin and a member, and for the member two endpoints and an event in each state.
///
/// What is there stays as it is: an account of the same address, and an account's endpoints and
/// events. So it can be called again at any time. No job is enqueued, and nothing is sent.
///
/// The password is public: for development and nothing else, which is the caller's to see to.
///
/// # Errors
/// When the machinery fails; what it has made by then stays, and the next call goes on.
pub async fn seed(pool: &PgPool, keys: &Keys) -> Result<[Seeded; 2], SeedError> {
    let admin = account(pool, "admin@example.com", Role::Admin).await?;
    let member = account(pool, "member@example.com", Role::Member).await?;
    if webhooks::list_endpoints(pool, member.0, None, 1)
        .await?
        .is_empty()
    {
        endpoints(pool, keys, member.0).await?;
    }
    if webhooks::list_events(pool, member.0, None, None, 1)
        .await?
        .is_empty()
    {
        events(pool, member.0).await?;
    }
    Ok([admin.1, member.1])
}

/// The account, made if there is none.
async fn account(pool: &PgPool, email: &'static str, role: Role) -> Result<(Uuid, Seeded), Error> {
    let address = Email::parse(email).expect("an address");
    let seeded = |role, found| Seeded { email, role, found };
    if let Some(account) = accounts::find_by_email(pool, &address).await? {
        return Ok((account.id, seeded(account.role, true)));
    }
    let password = Password::parse(PASSWORD).expect("a password");
    let id = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO accounts (id, email, email_key, password_hash, verified_at, role)
         VALUES ($1, $2, $2, $3, now(), $4)",
        id,
        email,
        password.hash().await?,
        role.as_str(),
    )
    .execute(pool)
    .await
    .map_err(Error::from)?;
    Ok((id, seeded(role, false)))
}

/// One that is told of everything, and one that its owner has disabled.
async fn endpoints(pool: &PgPool, keys: &Keys, account_id: Uuid) -> Result<(), SeedError> {
    // `.invalid` never resolves (RFC 6761, section 6.4): whatever is sent there goes nowhere.
    let target = |url| Target::parse(url, Targets::Public).expect("a public URL");
    let all = NewEndpoint {
        url: &target("https://receiver.invalid/hooks"),
        description: "Told of everything",
        event_types: &[],
    };
    webhooks::create_endpoint(pool, keys, account_id, all).await?;
    let bills = NewEndpoint {
        url: &target("https://bills.invalid/hooks"),
        description: "Bills, disabled",
        event_types: &[EventFilter::parse("invoice.*").expect("a filter")],
    };
    let (bills, _) = webhooks::create_endpoint(pool, keys, account_id, bills).await?;
    let off = Change {
        enabled: Some(false),
        ..Change::default()
    };
    webhooks::change_endpoint(pool, account_id, bills.id, None, off).await?;
    Ok(())
}

/// An event for each state that a delivery can be in, told to the first endpoint.
async fn events(pool: &PgPool, account_id: Uuid) -> Result<(), Error> {
    let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    let deliveries: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    let types = ["invoice.paid", "invoice.voided", "user.created"].map(str::to_owned);
    let states = ["delivered", "failed", "pending"].map(str::to_owned);
    sqlx::query!(
        "WITH demo AS (
           SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[])
             AS demo (id, delivery_id, type, state)
         ), event AS (
           INSERT INTO events (id, account_id, type, data)
           SELECT id, $1, type, json_build_object('demo', state) FROM demo RETURNING id
         )
         INSERT INTO webhook_deliveries
           (id, event_id, endpoint_id, state, attempts, attempted_at, duration_ms,
            response_status, response_body, error, next_attempt_at)
         SELECT delivery_id, event.id, endpoint.id, state,
                CASE state WHEN 'delivered' THEN 1 WHEN 'failed' THEN 11 ELSE 0 END,
                CASE WHEN state <> 'pending' THEN now() END,
                CASE WHEN state <> 'pending' THEN 42 END,
                CASE state WHEN 'delivered' THEN 200 WHEN 'failed' THEN 500 END,
                CASE state WHEN 'delivered' THEN 'OK' WHEN 'failed' THEN 'Sorry' END,
                CASE state WHEN 'failed' THEN 'the endpoint answered 500' END,
                CASE state WHEN 'pending' THEN now() END
         FROM event JOIN demo USING (id)
         CROSS JOIN (SELECT id FROM webhook_endpoints WHERE account_id = $1 ORDER BY id LIMIT 1)
           AS endpoint",
        account_id,
        &ids,
        &deliveries,
        &types,
        &states,
    )
    .execute(pool)
    .await?;
    Ok(())
}
