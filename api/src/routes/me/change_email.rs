use axum::{Json, extract::State, http::StatusCode};
use domain::accounts::{self, Email, OwnerError, Password};
use utoipa::ToSchema;

use crate::{
    App,
    body::Body,
    caller::LiveCaller,
    client::Client,
    fields::{Fields, FromFields, text},
    problem::Problem,
    routes::accepted::{Accepted, accepted},
    schema,
};

#[derive(ToSchema)]
pub(super) struct EmailChange {
    #[schema(schema_with = schema::email)]
    email: Email,
    #[schema(schema_with = schema::password)]
    password: Password,
}

impl FromFields for EmailChange {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", text(Email::parse));
        let password = fields.required("password", text(|text| Password::parse(text)));
        Some(Self {
            email: email?,
            password: password?,
        })
    }
}

/// Move the account to another address
///
/// The link in a mail to the new address does it, and a mail to the present one tells its owner.
/// Whether another account has the new address is only said in the mail to it.
#[utoipa::path(post, path = "/v1/me/email", tag = "me", request_body = EmailChange,
    security(("access_token" = [])),
    responses(
        (status = 202, description = "The mails are on their way.", body = Accepted),
        (status = 403, description = "`password` is not the account's."),
        (status = 429),
    ),
)]
pub(super) async fn change_email(
    State(app): State<App>,
    client: Client,
    LiveCaller(caller): LiveCaller,
    Body(EmailChange { email, password }): Body<EmailChange>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let (limits, account) = (&app.limits, caller.account_id);
    limits.change_email(&client, account, &email).await?;
    match accounts::request_email_change(&app.pool, account, password, &email).await {
        Ok(()) => {
            let message = "A mail with the next step is on its way to the new address.";
            Ok(accepted(message))
        }
        Err(OwnerError::WrongPassword) => Err(Problem::wrong_password("/password")),
        Err(OwnerError::Internal(error)) => Err(error.into()),
    }
}
