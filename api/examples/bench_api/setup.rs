//! The database of the benchmark, and what is in it.

use api::{settings::Settings, token::AccessTokens};
use migrations::testing::{FILLER, TestDatabase, database};
use service::settings::Reader;
use uuid::Uuid;

/// Signs the token of the one who asks. Nothing else knows it.
const JWT_SECRET: &str = "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T";

/// A database of its own with one account.
pub(crate) struct Database {
    test: TestDatabase,
    pub(crate) account: Uuid,
    /// The account's access token.
    pub(crate) token: String,
}

impl Database {
    pub(crate) async fn make() -> Self {
        let test = database().await;
        let account = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO accounts (id, email, email_key, password_hash, verified_at)
             VALUES ($1, 'ada@example.com', 'ada@example.com', '$argon2id$none', now())",
        )
        .bind(account)
        .execute(&test.pool)
        .await
        .unwrap();
        // Two of them are told of every event, the others of none that comes.
        sqlx::query(
            "INSERT INTO webhook_endpoints
               (id, account_id, url, description, event_types, secret_key_id, secret_salt)
             SELECT gen_random_uuid(), $1, 'https://example.com/hooks/' || number,
                    'Endpoint ' || number,
                    CASE WHEN number > 2 THEN ARRAY['never.sent'] ELSE '{}' END,
                    '00000000', decode(repeat('00', 32), 'hex')
             FROM generate_series(1, 40) AS number",
        )
        .bind(account)
        .execute(&test.pool)
        .await
        .unwrap();
        let env = env(&test);
        let settings = settings(Reader::from_pairs(env));
        let tokens = AccessTokens::new(&settings.auth, &settings.http.public_url);
        Self {
            account,
            token: tokens.issue(account, Uuid::now_v7()).unwrap(),
            test,
        }
    }

    /// The settings of a service that uses it.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        env(&self.test)
    }
}

fn env(test: &TestDatabase) -> Vec<(&'static str, String)> {
    let others = [
        ("JWT_SECRET", JWT_SECRET),
        ("REDIS_PASSWORD", FILLER),
        ("WEBHOOK_SECRET", JWT_SECRET),
        ("LOG_FORMAT", "json"),
    ];
    let others = others.map(|(name, value)| (name, value.to_owned()));
    test.env().into_iter().chain(others).collect()
}

/// The settings of both services; the bare one needs those of the database.
pub(crate) fn settings(reader: Reader) -> Settings {
    Settings::read(reader).unwrap_or_else(|error| panic!("{error}"))
}
