use axum::{extract::State, http::StatusCode};
use domain::accounts::{self, DeletionError, Password};
use utoipa::ToSchema;

use crate::{
    App,
    body::Body,
    caller::LiveCaller,
    client::Client,
    fields::{Fields, FromFields, text},
    problem::{Kind, Problem},
    schema,
};

const LAST_ADMIN: Kind = Kind {
    name: "last-admin",
    title: "The account is the last admin's",
};

#[derive(ToSchema)]
pub(super) struct Deletion {
    #[schema(schema_with = schema::password)]
    password: Password,
}

impl FromFields for Deletion {
    fn read(fields: &mut Fields) -> Option<Self> {
        let password = fields.required("password", text(|text| Password::parse(text)));
        Some(Self {
            password: password?,
        })
    }
}

/// Delete the account with all that belongs to it
///
/// It is a POST as it needs the password: the content of a DELETE has no meaning (RFC 9110,
/// section 9.3.5), and proxies drop or refuse it.
#[utoipa::path(post, path = "/v1/me/delete", tag = "me", request_body = Deletion,
    security(("access_token" = [])),
    responses(
        (status = 204, description = "It is gone, and cannot be brought back."),
        (status = 403, description = "`password` is not the account's."),
        (status = 409, description = "The account is the only admin's: another has to be made one first."),
        (status = 429),
    ),
)]
pub(super) async fn delete(
    State(app): State<App>,
    client: Client,
    LiveCaller(caller): LiveCaller,
    Body(Deletion { password }): Body<Deletion>,
) -> Result<StatusCode, Problem> {
    app.limits.password(&client, caller.account_id).await?;
    match accounts::delete(&app.pool, caller.account_id, password).await {
        Ok(()) => {
            tracing::info!(account.id = %caller.account_id, "account deleted");
            Ok(StatusCode::NO_CONTENT)
        }
        Err(DeletionError::WrongPassword) => Err(Problem::wrong_password("/password")),
        Err(DeletionError::LastAdmin) => Err(last_admin()),
        Err(DeletionError::Internal(error)) => Err(error.into()),
    }
}

/// 409: without this account nobody would be an admin.
fn last_admin() -> Problem {
    Problem::of_kind(
        StatusCode::CONFLICT,
        &LAST_ADMIN,
        "This account is the only admin's. Have another account made an admin first.",
    )
}
