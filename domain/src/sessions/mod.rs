//! Sessions: log-in, refresh with rotation, log-out, and the list of them.
//!
//! A session is a family of refresh tokens (RFC 9700, section 4.14). Each is used once and replaced
//! by the next; one that comes a second time was stolen, or its thief was faster, so it ends the
//! session. Access tokens name their session, and outlive it by minutes: what must not be done with
//! such a token asks [`is_live`].
//!
//! The session of a person in a browser has a cookie instead, which is looked up for each request.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Error, Token};

mod cookie;
mod end;
mod list;
mod log_in;
mod purge;
mod refresh;

pub use cookie::{
    COOKIE_HOURS, COOKIE_IDLE_MINUTES, CookieSession, find_by_cookie, prolong, sign_in,
};
pub use end::{revoke, revoke_all};
pub use list::{Session, is_live, list};
pub use log_in::{LogInError, Opened, log_in};
pub use purge::{purge_cookies, purge_ended, purge_refresh_tokens};
pub use refresh::{RefreshError, refresh};

/// How long a refresh token can be used, in days. The session goes on with the next one.
pub const REFRESH_TOKEN_DAYS: i32 = 30;

/// The most sessions that an account has at a time. A log-in ends the one longest unused.
pub const MOST_SESSIONS: i64 = 100;

/// The most characters of a `User-Agent` that are kept.
pub const USER_AGENT_LENGTH: usize = 256;

/// What a log-in and a refresh give: whom an access token is for, and the next refresh token.
#[derive(Debug)]
pub struct Issued {
    /// The session's id.
    pub session_id: Uuid,
    /// Whose it is.
    pub account_id: Uuid,
    /// Buys the next access token, once.
    pub refresh_token: Token,
}

/// Stores a new refresh token of a session whose last one is used.
async fn issue(conn: &mut PgConnection, session_id: Uuid) -> Result<Token, Error> {
    let token = Token::generate();
    sqlx::query!(
        "INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
         VALUES ($1, $2, now() + make_interval(days => $3))",
        &token.hash(),
        session_id,
        REFRESH_TOKEN_DAYS,
    )
    .execute(conn)
    .await?;
    Ok(token)
}

/// The beginning of a `User-Agent`, for the row.
fn cut(user_agent: &str) -> &str {
    match user_agent.char_indices().nth(USER_AGENT_LENGTH) {
        Some((end, _)) => &user_agent[..end],
        None => user_agent,
    }
}
