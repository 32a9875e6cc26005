//! Mails with a link that only their receiver has.

use askama::{Error, Template};

use crate::mail::Content;

/// "Confirm your address", for the sign-up of that time.
pub(super) fn verify_address(
    base: &str,
    token: &str,
    hours: i32,
    when: &str,
) -> Result<Content, Error> {
    let link = &*format!("{base}/verify?token={token}");
    let text = VerifyAddressText {
        link,
        token,
        hours,
        when,
    };
    let html = VerifyAddressHtml {
        link,
        token,
        hours,
        when,
    };
    content("Confirm your address", &text, &html)
}

/// "Choose a new password".
pub(super) fn reset_password(base: &str, token: &str, hours: i32) -> Result<Content, Error> {
    let link = &*format!("{base}/reset?token={token}");
    let text = ResetPasswordText { link, token, hours };
    let html = ResetPasswordHtml { link, token, hours };
    content("Choose a new password", &text, &html)
}

/// "Confirm your new address".
pub(super) fn confirm_new_address(base: &str, token: &str, until: &str) -> Result<Content, Error> {
    let link = &*format!("{base}/email?token={token}");
    let text = ConfirmNewAddressText { link, token, until };
    let html = ConfirmNewAddressHtml { link, token, until };
    content("Confirm your new address", &text, &html)
}

fn content(
    subject: &'static str,
    text: &impl Template,
    html: &impl Template,
) -> Result<Content, Error> {
    Ok(Content {
        subject,
        text: text.render()?,
        html: html.render()?,
    })
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
#[template(path = "reset_password.txt")]
struct ResetPasswordText<'a> {
    link: &'a str,
    token: &'a str,
    hours: i32,
}

#[derive(Template)]
#[template(path = "reset_password.html")]
struct ResetPasswordHtml<'a> {
    link: &'a str,
    token: &'a str,
    hours: i32,
}

#[derive(Template)]
#[template(path = "confirm_new_address.txt")]
struct ConfirmNewAddressText<'a> {
    link: &'a str,
    token: &'a str,
    until: &'a str,
}

#[derive(Template)]
#[template(path = "confirm_new_address.html")]
struct ConfirmNewAddressHtml<'a> {
    link: &'a str,
    token: &'a str,
    until: &'a str,
}
