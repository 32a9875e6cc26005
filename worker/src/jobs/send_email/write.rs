use domain::accounts::{
    Email, EmailChange, PASSWORD_RESET_HOURS, VERIFICATION_HOURS, issue_email_change,
    issue_password_reset, issue_verification,
};
use domain::jobs::{Mail, SendEmail};
use domain::webhooks::disabled;
use queue::JobError;
use time::OffsetDateTime;
use time::macros::format_description;

use super::{link, notice, webhook_disabled};
use crate::App;
use crate::mail::Content;

/// A mail that is ready to go.
pub(super) struct Letter {
    pub(super) to: String,
    pub(super) content: Content,
}

/// Fills the template in; `None` when the mail has become pointless.
///
/// No mail holds a name or another text that somebody has chosen: it would carry their words to
/// whatever address they type.
pub(super) async fn write(job: SendEmail, app: &App) -> Result<Option<Letter>, JobError> {
    let (pool, base) = (&app.pool, &*app.public_url);
    let mut to = job.to;
    let content = match job.template {
        Mail::VerifyAddress { sign_up_id, .. } => {
            let Some(issued) = issue_verification(pool, sign_up_id).await? else {
                return Ok(None);
            };
            let when = minute(issued.signed_up_at)?;
            link::verify_address(base, issued.token.expose(), VERIFICATION_HOURS, &when)?
        }
        Mail::ResetPassword => {
            let email = Email::parse(&to).map_err(JobError::discard)?;
            let Some(issued) = issue_password_reset(pool, &email).await? else {
                return Ok(None);
            };
            to = issued.to;
            link::reset_password(base, issued.token.expose(), PASSWORD_RESET_HOURS)?
        }
        Mail::ConfirmNewAddress { email_change_id } => {
            match issue_email_change(pool, email_change_id).await? {
                None => return Ok(None),
                Some(EmailChange::Taken) => notice::ADDRESS_TAKEN.content()?,
                Some(EmailChange::Confirm { token, expires_at }) => {
                    let until = minute(expires_at)?;
                    link::confirm_new_address(base, token.expose(), &until)?
                }
            }
        }
        Mail::WebhookDisabled { endpoint_id } => {
            let Some(disabled) = disabled(pool, endpoint_id).await? else {
                return Ok(None);
            };
            webhook_disabled::content(endpoint_id, &disabled, &minute(disabled.at)?)?
        }
        Mail::AlreadyRegistered => notice::ALREADY_REGISTERED.content()?,
        Mail::AlreadyVerified => notice::ALREADY_VERIFIED.content()?,
        Mail::PasswordChanged => notice::PASSWORD_CHANGED.content()?,
        Mail::AddressChangeRequested => notice::ADDRESS_CHANGE_REQUESTED.content()?,
        Mail::AddressChanged => notice::ADDRESS_CHANGED.content()?,
        Mail::AccountDeleted => notice::ACCOUNT_DELETED.content()?,
    };
    Ok(Some(Letter { to, content }))
}

/// A time as people write it: `9 March 2026 at 08:05 UTC`.
fn minute(time: OffsetDateTime) -> Result<String, time::error::Format> {
    time.format(format_description!(
        "[day padding:none] [month repr:long] [year] at [hour]:[minute] UTC"
    ))
}
