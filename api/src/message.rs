//! What HTTP asks of every request, whatever it asks for.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
};

use crate::problem::Problem;

/// Refuses a request whose host is not clear (RFC 9112, section 3.2): two servers that read it
/// differently would take it for two different requests.
pub(crate) fn host(request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let clear = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host),
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    };
    if clear {
        Ok(())
    } else {
        let detail = "Send one header `Host`, with the name or address that this service is at.";
        Err(Problem::new(StatusCode::BAD_REQUEST, detail))
    }
}

/// Whether it has only what the host and the port of a URI may have; it may be empty.
fn is_host(value: &HeaderValue) -> bool {
    let delimits = |byte: &u8| b"/?#@\\\"<>^`{|}".contains(byte);
    let mut bytes = value.as_bytes().iter();
    bytes.all(|byte| byte.is_ascii_graphic() && !delimits(byte))
}

/// Refuses a body that is compressed: none is unpacked here.
pub(crate) fn plain(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if codings.all(plain) {
        Ok(())
    } else {
        Err(Problem::encoded())
    }
}
