//! What the product is: its rules, its SQL, and the payloads of its jobs.
//!
//! One folder per feature. It knows Postgres and the outbox, and neither HTTP nor the worker: the
//! api turns its errors into answers, the worker gives its jobs their behaviour.
//!
//! To add a feature, you copy the folder [`accounts`], write its tables as a migration, put its
//! jobs' payloads into [`jobs`], and run `cargo xtask db prepare` after each change of a query.

pub mod accounts;
mod age;
pub mod audit;
pub mod jobs;
pub mod seed;
pub mod sessions;
mod token;
pub mod webhooks;

pub use token::{InvalidToken, Token};

/// What can go wrong in any feature and is nobody's mistake: the machinery failed.
///
/// The outcomes a caller has to tell apart are errors of their own, beside their function.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres refused or is away.
    #[error("the database cannot be used")]
    Database(#[from] sqlx::Error),
    /// A job could not be put into the outbox.
    #[error("the job cannot be enqueued")]
    Outbox(#[from] outbox::Error),
    /// A password could not be hashed or its stored hash not be read.
    #[error("the password cannot be hashed")]
    PasswordHash(#[from] argon2::password_hash::Error),
    /// The thread that hashed a password died.
    #[error("the password's hashing was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}
