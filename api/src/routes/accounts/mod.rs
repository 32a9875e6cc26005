mod create;
mod list;
mod resend;
mod verify;

use domain::accounts;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{App, schema};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(verify::verify))
        .routes(routes!(resend::resend))
}

/// An account, as its owner and admins see it.
#[derive(Serialize, ToSchema)]
pub(super) struct Account {
    id: Uuid,
    #[schema(schema_with = schema::email)]
    email: String,
    /// What its owner wants to be called; empty for nothing.
    #[schema(schema_with = schema::name)]
    name: String,
    /// What it may do: `member` or `admin`.
    #[schema(schema_with = schema::role)]
    role: &'static str,
    /// Whether its owner has proven the address.
    verified: bool,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<accounts::Account> for Account {
    fn from(account: accounts::Account) -> Self {
        Self {
            id: account.id,
            email: account.email,
            name: account.name,
            role: account.role.as_str(),
            verified: account.verified_at.is_some(),
            created_at: account.created_at,
        }
    }
}
