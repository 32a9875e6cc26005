//! Where to go after the sign-in: back to the page that asked for it.

use axum::http::Uri;

use super::{ROOT, has};

/// The page that was asked for, if it is one of ours; otherwise the first of them.
///
/// It comes from an address that anybody may have written, so it must not lead anywhere else: it is
/// a path, below [`ROOT`] after every `..` of it, in characters that no browser rewrites.
pub(super) fn checked(next: &str) -> &str {
    let path = next.split_once('?').map_or(next, |(path, _)| path);
    let is_plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#'));
    if has(path) && is_plain && !path.split('/').any(is_dots) {
        next
    } else {
        ROOT
    }
}

/// The page that a request asks for, as a parameter of an address.
pub(super) fn parameter(uri: &Uri) -> String {
    let page = uri.path_and_query().map_or(ROOT, |page| page.as_str());
    let escaped = page.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    escaped.collect()
}

/// Whether a segment is `.` or `..`, which browsers see through escapes (URL Standard, 4.1).
fn is_dots(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(segment.as_str(), "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_are_gone_to() {
        for own in ["/admin", "/admin/jobs/7?state=dead&q=a%2Fb", "/admin?x=/.."] {
            assert_eq!(checked(own), own);
        }
        for strange in [
            "",
            "admin",
            "/",
            "/v1/me",
            "/administrator",
            "//example.com/admin",
            "https://example.com/admin",
            "/\\example.com",
            "/admin\\..\\..",
            "/admin/..//example.com",
            "/admin/%2e%2E/docs",
            "/admin/./x",
            "/admin/x\r\nset-cookie: a=b",
            "/admin/ü",
            "javascript:alert(1)",
        ] {
            assert_eq!(checked(strange), ROOT, "{strange:?}");
        }
    }

    #[test]
    fn a_page_is_one_parameter() {
        let uri = "/admin/jobs?state=dead&cursor=a%20b".parse().unwrap();
        assert_eq!(
            parameter(&uri),
            "/admin/jobs%3Fstate%3Ddead%26cursor%3Da%2520b"
        );
    }
}
