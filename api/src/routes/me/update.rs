use axum::{Json, extract::State};
use domain::accounts::{self, Name, ProfileChange, ProfileError};
use utoipa::ToSchema;

use crate::{
    App,
    body::Body,
    caller::LiveCaller,
    etag::{IfMatch, OwnETag, OwnIfMatch},
    fields::{Fields, FromFields, text},
    problem::Problem,
    routes::accounts::Account,
    schema,
};

/// What an owner may change as they like. Anything else of an account has a way of its own.
#[derive(ToSchema)]
pub(super) struct Profile {
    /// What to be called; empty for nothing.
    #[schema(schema_with = schema::name, required = false)]
    name: Option<Name>,
}

impl FromFields for Profile {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.absent_or("name", text(Name::parse));
        Some(Self { name: name? })
    }
}

/// Change the caller's own account
#[utoipa::path(patch, path = "/v1/me", tag = "me", request_body = Profile, params(IfMatch),
    security(("access_token" = [])),
    responses((status = 200, description = "As it is now.", body = Account)),
)]
pub(super) async fn update(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    expected: OwnIfMatch,
    Body(Profile { name }): Body<Profile>,
) -> Result<(OwnETag, Json<Account>), Problem> {
    let change = ProfileChange { name };
    let (pool, id) = (&app.pool, caller.account_id);
    let versions = expected.versions(id);
    match accounts::change_profile(pool, id, &change, versions.as_deref()).await {
        Ok(account) => Ok((OwnETag(id, account.version), Json(account.into()))),
        Err(ProfileError::Outdated) => Err(Problem::precondition_failed()),
        Err(ProfileError::Gone) => Err(Problem::unauthorized()),
        Err(ProfileError::Internal(error)) => Err(error.into()),
    }
}
