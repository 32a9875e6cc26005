//! "Your webhook endpoint is disabled", and what it has done.

use askama::{Error, Template};
use domain::webhooks::{Disabled, FAILING_DAYS};
use uuid::Uuid;

use crate::mail::Content;

pub(super) fn content(id: Uuid, disabled: &Disabled, when: &str) -> Result<Content, Error> {
    let (id, host) = (&*id.to_string(), host(&disabled.url));
    let (gone, days) = (disabled.gone, FAILING_DAYS);
    let text = WebhookDisabledText {
        host,
        id,
        gone,
        days,
        when,
    };
    let html = WebhookDisabledHtml {
        host,
        id,
        gone,
        days,
        when,
    };
    Ok(Content {
        subject: "Your webhook endpoint is disabled",
        text: text.render()?,
        html: html.render()?,
    })
}

/// The host of a checked URL. The rest may hold a key, and a mail is read in many places.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

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
