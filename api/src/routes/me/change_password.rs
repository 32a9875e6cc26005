use axum::{extract::State, http::StatusCode};
use domain::accounts::{self, OwnerError, Password};
use utoipa::ToSchema;

use crate::{
    App,
    body::Body,
    caller::LiveCaller,
    client::Client,
    fields::{Fields, FromFields, text},
    problem::Problem,
    schema,
};

#[derive(ToSchema)]
pub(super) struct PasswordChange {
    #[schema(schema_with = schema::password)]
    current_password: Password,
    #[schema(schema_with = schema::password)]
    new_password: Password,
}

impl FromFields for PasswordChange {
    fn read(fields: &mut Fields) -> Option<Self> {
        let current = fields.required("current_password", text(|text| Password::parse(text)));
        let new = fields.required("new_password", text(|text| Password::parse(text)));
        Some(Self {
            current_password: current?,
            new_password: new?,
        })
    }
}

/// Change the password
///
/// All other sessions end, and a mail tells the owner.
#[utoipa::path(put, path = "/v1/me/password", tag = "me", request_body = PasswordChange,
    security(("access_token" = [])),
    responses(
        (status = 204, description = "It is changed."),
        (status = 403, description = "`current_password` is not the account's."),
        (status = 429),
    ),
)]
pub(super) async fn change_password(
    State(app): State<App>,
    client: Client,
    LiveCaller(caller): LiveCaller,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, Problem> {
    app.limits.password(&client, caller.account_id).await?;
    let (account, session) = (caller.account_id, caller.session_id);
    let (current, new) = (change.current_password, change.new_password);
    match accounts::change_password(&app.pool, account, session, current, new).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(OwnerError::WrongPassword) => Err(Problem::wrong_password("/current_password")),
        Err(OwnerError::Internal(error)) => Err(error.into()),
    }
}
