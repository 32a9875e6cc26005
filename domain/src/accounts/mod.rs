//! Accounts: sign-up by e-mail and verification of the address.
//!
//! Nobody learns here whether an address has an account. Sign-up does the same work and has the
//! same answer for every address, and the truth goes to the address itself by mail; log-in, in
//! [`sessions`](crate::sessions), checks a password even where there is no account.
//!
//! A password belongs to the sign-up it was typed in, and becomes the account's when the link of
//! that sign-up's mail is followed. So it makes no difference who signs up first or last with an
//! address: its owner's click chooses, and no password opens anything before.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Error;

mod email;
mod password;
mod purge;
mod sign_up;
mod verification;

pub use email::{Email, InvalidEmail};
pub use password::{InvalidPassword, Password};
pub use purge::{SIGN_UP_DAYS, purge_sign_ups, purge_verification_tokens};
pub use sign_up::sign_up;
pub use verification::{VERIFICATION_HOURS, Verification, VerifyError, issue_verification, verify};

/// Somebody who has signed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id, for good.
    pub id: Uuid,
    /// The address as its owner typed it.
    pub email: String,
    /// What it may do.
    pub role: Role,
    /// When the owner proved the address.
    pub verified_at: Option<OffsetDateTime>,
    /// When somebody first signed up with the address.
    pub created_at: OffsetDateTime,
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Its own things.
    Member,
    /// Everything, including the jobs page.
    Admin,
}

impl Role {
    /// The name it has in the database, in tokens and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

/// The account with this id.
///
/// # Errors
/// When the database cannot be asked.
pub async fn find(pool: &PgPool, id: Uuid) -> Result<Option<Account>, Error> {
    let account = sqlx::query_as!(
        Account,
        r#"SELECT id, email, role AS "role: Role", verified_at, created_at
           FROM accounts WHERE id = $1"#,
        id
    )
    .fetch_optional(pool)
    .await?;
    Ok(account)
}
