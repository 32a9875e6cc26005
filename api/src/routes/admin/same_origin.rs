//! What changes something comes from a page of our own.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that another site's page has made, unless it only reads.
///
/// It is the first of three walls: the cookie does not go along with such a request, and its form
/// does not hold the session's token. It is also what keeps another page from signing somebody in.
pub(super) async fn required(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads || is_same_origin(request.headers()) {
        next.run(request).await
    } else {
        let detail = "This was sent by a page of another site, so nothing was done.";
        Problem::new(StatusCode::FORBIDDEN, detail).into_response()
    }
}

/// Whether a browser says that one of our own pages sent this, or its user did; true for what is no
/// browser and says nothing.
///
/// Browsers of today say it themselves (Fetch Metadata), but only over HTTPS and to loopback. Then
/// the origin has to be the host that was asked. Its scheme is not compared: behind a proxy that ends
/// TLS, nobody here knows it. Go's `net/http.CrossOriginProtection` does the same.
fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().ok().and_then(|text| text.parse().ok());
    let authority = origin.as_ref().and_then(Uri::authority);
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    matches!((authority, host), (Some(authority), Some(host)) if authority == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(pairs: &[(&'static str, &'static str)]) -> bool {
        let pairs = pairs.iter().map(|(name, value)| {
            let (name, value) = (name.parse().unwrap(), value.parse().unwrap());
            (HeaderName::clone(&name), value)
        });
        is_same_origin(&pairs.collect())
    }

    #[test]
    fn browsers_say_it_and_the_rest_is_compared() {
        let host = ("host", "example.com:8443");
        let site = |site| ("sec-fetch-site", site);
        let origin = |origin| ("origin", origin);
        assert!(is_ours(&[host]));
        for ours in [site("same-origin"), site("none")] {
            // A page that sends no referrer sends no origin either.
            assert!(is_ours(&[host, ours, origin("null")]));
        }
        for other in ["cross-site", "same-site", "", "SAME-ORIGIN"] {
            assert!(!is_ours(&[
                host,
                site(other),
                origin("https://example.com:8443")
            ]));
        }
        assert!(is_ours(&[host, origin("https://example.com:8443")]));
        assert!(is_ours(&[host, origin("https://EXAMPLE.com:8443")]));
        for other in [
            "null",
            "",
            "https://example.com",
            "https://example.org:8443",
            "https://example.com:8443.example.org",
            "https://user@example.com:8443",
        ] {
            assert!(!is_ours(&[host, origin(other)]), "{other}");
        }
        assert!(!is_ours(&[origin("https://example.com:8443")]));
    }
}
