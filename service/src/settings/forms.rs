//! Whether a text has the form that a setting needs.

use std::net::IpAddr;

use axum::http::Uri;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

/// Whether `text` holds only directives that a person can have meant.
///
/// [`EnvFilter`] takes a bare word that is no level for a target, so that `verbose` would silence
/// everything else; here a target needs its level.
pub(super) fn is_filter(text: &str) -> bool {
    EnvFilter::try_new(text).is_ok()
        && text.split(',').all(|directive| {
            directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok()
        })
}

pub(super) fn is_base_url(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && !text.contains(['@', '#'])
    })
}

pub(super) fn is_origin(text: &str) -> bool {
    is_base_url(text)
        && text
            .split_once("://")
            .is_some_and(|(_, host)| !host.contains(['/', '*']))
}

/// Whether nobody but the host itself can follow this address.
pub(super) fn is_loopback(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let Some(host) = uri.as_ref().and_then(Uri::host) else {
        return false;
    };
    // The brackets around an IPv6 address belong to the URL.
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    host.parse::<IpAddr>().map_or_else(
        |_| host == "localhost" || host.ends_with(".localhost"),
        |address| address.is_loopback() || address.is_unspecified(),
    )
}
