use std::sync::LazyLock;

use axum::{
    http::{Uri, header},
    response::IntoResponse,
};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("../../../templates/admin/admin.css");
const JOBS_STYLE: &str = include_str!("../../../templates/admin/jobs.css");
const LIVE: &str = include_str!("../../../templates/admin/live.js");

/// Pages name a file together with its version, so it never changes.
const CACHE: &str = "public, max-age=31536000, immutable";

/// A page of another release may ask for a file that this one has in another version.
const OTHER: &str = "no-cache";

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Where each file is, below the pages' base.
pub(super) static STYLE_LINK: LazyLock<String> = LazyLock::new(|| link("admin.css", STYLE));
pub(super) static JOBS_STYLE_LINK: LazyLock<String> =
    LazyLock::new(|| link("jobs.css", JOBS_STYLE));
pub(super) static LIVE_LINK: LazyLock<String> = LazyLock::new(|| link("live.js", LIVE));

/// `GET /admin/admin.css`: how the pages look.
pub(super) async fn style(uri: Uri) -> impl IntoResponse {
    file(&uri, &STYLE_LINK, CSS, STYLE)
}

/// `GET /admin/jobs.css`: how the jobs page looks.
pub(super) async fn jobs_style(uri: Uri) -> impl IntoResponse {
    file(&uri, &JOBS_STYLE_LINK, CSS, JOBS_STYLE)
}

/// `GET /admin/live.js`: what keeps a page up to date.
pub(super) async fn live(uri: Uri) -> impl IntoResponse {
    file(&uri, &LIVE_LINK, SCRIPT, LIVE)
}

fn file(
    asked: &Uri,
    link: &str,
    media_type: &'static str,
    text: &'static str,
) -> impl IntoResponse + use<> {
    let is_this = asked.path_and_query().is_some_and(|asked| asked == link);
    let about = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, if is_this { CACHE } else { OTHER }),
    ];
    (about, text)
}

/// The path of a file with what tells its versions apart.
fn link(file: &str, text: &str) -> String {
    let digest = Sha256::digest(text);
    let version: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("/admin/{file}?v={version}")
}
