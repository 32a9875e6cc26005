//! Accounts: sign-up by e-mail, verification of the address, and what an owner changes.
//!
//! Nobody learns here whether an address has an account. Sign-up does the same work and has the
//! same answer for every address, and the truth goes to the address itself by mail; log-in, in
//! [`sessions`](crate::sessions), checks a password even where there is no account. A resend, a
//! reset and a change of the address do not even look: the worker does, and answers by mail alone.
//!
//! A password belongs to the sign-up it was typed in, and becomes the account's when the link of
//! that sign-up's mail is followed. So it makes no difference who signs up first or last with an
//! address: its owner's click chooses, and no password opens anything before.
//!
//! What cannot be taken back asks for the password again, however good the access token is; see
//! `owner`. A new password ends all other sessions and every link that is still on its way.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Error;

mod deletion;
mod email;
mod email_change;
mod list;
mod name;
mod owner;
mod password;
mod password_change;
mod password_reset;
mod profile;
mod purge;
mod resend;
mod roles;
mod sign_up;
mod verification;

pub use deletion::{DeletionError, delete};
pub use email::{Email, InvalidEmail};
pub use email_change::{
    EMAIL_CHANGE_HOURS, EmailChange, EmailChangeError, complete_email_change, issue_email_change,
    request_email_change,
};
pub use list::{find_by_email, list};
pub use name::{InvalidName, NAME_LENGTH, Name};
pub use owner::OwnerError;
pub use password::{InvalidPassword, Password};
pub use password_change::change_password;
pub use password_reset::{
    PASSWORD_RESET_HOURS, PasswordReset, ResetError, complete_password_reset, issue_password_reset,
    request_password_reset,
};
pub use profile::{ProfileChange, ProfileError, change_profile};
pub use purge::{
    SIGN_UP_DAYS, purge_email_changes, purge_password_reset_tokens, purge_sign_ups,
    purge_verification_tokens,
};
pub use resend::{MOST_RESENT, request_resend, resend};
pub use roles::{RoleError, admins, grant_admin, revoke_admin, role};
pub use sign_up::sign_up;
pub use verification::{VERIFICATION_HOURS, Verification, VerifyError, issue_verification, verify};

/// Somebody who has signed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id, for good.
    pub id: Uuid,
    /// The address as its owner typed it.
    pub email: String,
    /// What its owner wants to be called; empty for nothing.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Grows with each change that its owner can see.
    pub version: i64,
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
    /// What concerns all accounts, too.
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
        r#"SELECT id, email, name, role AS "role: Role", version, verified_at, created_at
           FROM accounts WHERE id = $1"#,
        id
    )
    .fetch_optional(pool)
    .await?;
    Ok(account)
}
