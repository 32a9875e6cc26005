//! The cookie that stands for a session (RFC 6265bis).

use axum::http::{HeaderMap, HeaderValue, header};
use domain::{Token, sessions::COOKIE_HOURS};

use crate::App;

/// Over HTTPS. A browser takes a cookie of this prefix only from the host itself, over HTTPS and for
/// all of its paths, so that no neighbouring host can plant one.
const NAME: &str = "__Host-slipway-admin";

/// Over plain HTTP, where browsers refuse that: on a developer's machine.
const PLAIN_NAME: &str = "slipway-admin";

/// What of it is the same in each case: no script reads it, and no other site's page sends it.
const ATTRIBUTES: &str = "Path=/; HttpOnly; SameSite=Strict";

/// A header that has the browser keep this token for as long as its session can last.
pub(super) fn set(app: &App, token: &Token) -> Option<HeaderValue> {
    let seconds = COOKIE_HOURS * 60 * 60;
    header(app, token.expose(), seconds)
}

/// A header that has the browser forget it.
pub(super) fn clear(app: &App) -> Option<HeaderValue> {
    header(app, "", 0)
}

/// The token that came with a request.
pub(super) fn token(app: &App, headers: &HeaderMap) -> Option<Token> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == name_of(app))?;
    Token::parse(value).ok()
}

fn header(app: &App, value: &str, seconds: i32) -> Option<HeaderValue> {
    let secure = if is_https(app) { "; Secure" } else { "" };
    let name = name_of(app);
    let cookie = format!("{name}={value}; {ATTRIBUTES}; Max-Age={seconds}{secure}");
    // A token is base64url, so it is one.
    let mut cookie = HeaderValue::try_from(cookie).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

fn name_of(app: &App) -> &'static str {
    if is_https(app) { NAME } else { PLAIN_NAME }
}

fn is_https(app: &App) -> bool {
    app.http.public_url.starts_with("https://")
}
