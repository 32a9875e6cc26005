//! Log-in: a password for a session.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Account, Email, Password, Role};
use crate::{Error, Token};

/// How long a refresh token can be used, in days.
pub const REFRESH_TOKEN_DAYS: i32 = 30;

/// What a log-in gives.
#[derive(Debug)]
pub struct Session {
    /// The session's id: the family of its refresh tokens.
    pub id: Uuid,
    /// Who logged in.
    pub account: Account,
    /// Buys the next access token, once.
    pub refresh_token: Token,
}

/// Why a log-in is refused.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// No such account, not its password, or an address that was never verified.
    ///
    /// Which of them is not said. Anybody can sign up with a stranger's address and a password of
    /// their own, so "not verified" would tell whoever did that the address had no account.
    #[error("the address or the password is wrong, or the address is not verified")]
    InvalidCredentials,
    /// The machinery failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<sqlx::Error> for LogInError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Opens a session for whoever knows the password of a verified account.
///
/// # Errors
/// When the address or the password is wrong or the address is not verified (one error, after the
/// same work in each case), or the machinery fails.
pub async fn log_in(
    pool: &PgPool,
    email: &Email,
    password: Password,
) -> Result<Session, LogInError> {
    let found = sqlx::query!(
        r#"SELECT id, email, name, password_hash, role AS "role: Role", version, verified_at,
                  created_at
           FROM accounts WHERE email_key = $1"#,
        email.key()
    )
    .fetch_optional(pool)
    .await?;
    let (account, hash): (_, Option<Option<String>>) = found
        .map(|row| {
            let account = Account {
                id: row.id,
                email: row.email,
                name: row.name,
                role: row.role,
                version: row.version,
                verified_at: row.verified_at,
                created_at: row.created_at,
            };
            (account, row.password_hash)
        })
        .unzip();

    // In every case: without an account, and with one that has no password as it is not verified.
    let right = password.matches(hash.flatten()).await?;
    let Some(account) = account.filter(|account| right && account.verified_at.is_some()) else {
        return Err(LogInError::InvalidCredentials);
    };

    let id = Uuid::now_v7();
    let refresh_token = Token::generate();
    let mut tx = pool.begin().await?;
    sqlx::query!(
        "INSERT INTO sessions (id, account_id) VALUES ($1, $2)",
        id,
        account.id
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
         VALUES ($1, $2, now() + make_interval(days => $3))",
        &refresh_token.hash(),
        id,
        REFRESH_TOKEN_DAYS,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Session {
        id,
        account,
        refresh_token,
    })
}
