use std::sync::LazyLock;

use axum::{http::header, response::IntoResponse};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("../../../templates/admin/admin.css");

/// Pages name a file together with its version, so it never changes.
const CACHE: &str = "public, max-age=31536000, immutable";

/// Where the style sheet is, below the pages' base.
pub(super) static STYLE_LINK: LazyLock<String> = LazyLock::new(|| link("admin.css", STYLE));

/// `GET /admin/admin.css`: how the pages look.
pub(super) async fn style() -> impl IntoResponse {
    let about = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, CACHE),
    ];
    (about, STYLE)
}

/// The path of a file with what tells its versions apart.
fn link(file: &str, text: &str) -> String {
    let digest = Sha256::digest(text);
    let version: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("/admin/{file}?v={version}")
}
