//! `send_email`: writes one mail and hands it to the mail server.

use std::sync::Arc;

use askama::Template;
use domain::accounts::{VERIFICATION_HOURS, Verification, issue_verification};
use domain::jobs::{Mail, SendEmail};
use domain::webhooks::{Disabled, FAILING_DAYS, disabled};
use queue::{JobContext, JobError};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::App;
use crate::mail::{Content, SendError};

/// A time as people write it.
const MINUTE: &[BorrowedFormatItem] =
    format_description!("[day padding:none] [month repr:long] [year] at [hour]:[minute] UTC");

/// Sends the mail, unless it was sent before.
///
/// A mail cannot be taken back by a rollback, so the token is looked at first and spent last. A
/// crash in between sends the mail again with the same Message-ID, by which a receiver can drop it.
pub(crate) async fn run(job: SendEmail, cx: JobContext<Arc<App>>) -> Result<(), JobError> {
    if !outbox::is_pending(&cx.app.pool, cx.id).await? {
        tracing::info!("sent before, nothing to do");
        return Ok(());
    }
    match write(&job.template, &cx.app).await? {
        None => tracing::info!("there is nothing left to say"),
        Some(content) => match cx.app.mailer.send(cx.id, &job.to, content).await {
            Ok(()) => tracing::info!("sent"),
            Err(error @ SendError::Permanent(_)) => return Err(JobError::discard(error)),
            Err(error) => return Err(JobError::retry(error)),
        },
    }
    outbox::once(&mut *cx.app.pool.acquire().await?, cx.id).await?;
    Ok(())
}

/// Fills the template in; `None` when the mail has become pointless.
async fn write(mail: &Mail, app: &App) -> Result<Option<Content>, JobError> {
    let content = match *mail {
        Mail::VerifyAddress { sign_up_id, .. } => {
            let Some(Verification {
                token,
                signed_up_at,
            }) = issue_verification(&app.pool, sign_up_id).await?
            else {
                return Ok(None);
            };
            let when = &*signed_up_at.format(MINUTE)?;
            let link = format!("{}/verify?token={}", app.public_url, token.expose());
            let (link, token) = (link.as_str(), token.expose());
            let hours = VERIFICATION_HOURS;
            Content {
                subject: "Confirm your address",
                text: VerifyAddressText {
                    link,
                    token,
                    hours,
                    when,
                }
                .render()?,
                html: VerifyAddressHtml {
                    link,
                    token,
                    hours,
                    when,
                }
                .render()?,
            }
        }
        Mail::AlreadyRegistered => Content {
            subject: "You already have an account",
            text: AlreadyRegisteredText.render()?,
            html: AlreadyRegisteredHtml.render()?,
        },
        Mail::WebhookDisabled { endpoint_id } => {
            let Some(Disabled { url, gone, at }) = disabled(&app.pool, endpoint_id).await? else {
                return Ok(None);
            };
            let (host, when) = (host(&url), &*at.format(MINUTE)?);
            let (id, days) = (&*endpoint_id.to_string(), FAILING_DAYS);
            Content {
                subject: "Your webhook endpoint is disabled",
                text: WebhookDisabledText {
                    host,
                    id,
                    gone,
                    days,
                    when,
                }
                .render()?,
                html: WebhookDisabledHtml {
                    host,
                    id,
                    gone,
                    days,
                    when,
                }
                .render()?,
            }
        }
    };
    Ok(Some(content))
}

#[derive(Template)]
#[template(path = "verify_address.txt")]
struct VerifyAddressText<'a> {
    link: &'a str,
    token: &'a str,
    hours: i32,
    when: &'a str,
}

#[derive(Template)]
#[template(path = "verify_address.html")]
struct VerifyAddressHtml<'a> {
    link: &'a str,
    token: &'a str,
    hours: i32,
    when: &'a str,
}

#[derive(Template)]
#[template(path = "already_registered.txt")]
struct AlreadyRegisteredText;

#[derive(Template)]
#[template(path = "already_registered.html")]
struct AlreadyRegisteredHtml;

#[derive(Template)]
#[template(path = "webhook_disabled.txt")]
struct WebhookDisabledText<'a> {
    host: &'a str,
    id: &'a str,
    gone: bool,
    days: i32,
    when: &'a str,
}

#[derive(Template)]
#[template(path = "webhook_disabled.html")]
struct WebhookDisabledHtml<'a> {
    host: &'a str,
    id: &'a str,
    gone: bool,
    days: i32,
    when: &'a str,
}

/// The host of a checked URL. The rest may hold a key, and a mail is read in many places.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}
