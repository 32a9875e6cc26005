use std::{io::Read, sync::LazyLock};

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::read::GzDecoder;

use crate::{path::Path, request::reads_gzip};

/// They change with a release; after it, an old page may look for as long as this for new files.
const CACHE: &str = "public, max-age=3600";

/// A file that is compressed already: a quarter of the size, and no work for a request.
struct Packed {
    media_type: &'static str,
    gzip: &'static [u8],
    /// For those who cannot read that.
    plain: LazyLock<Bytes>,
}

const SCRIPT_GZIP: &[u8] = include_bytes!("../../../assets/swagger-ui/swagger-ui-bundle.js.gz");
const STYLE_GZIP: &[u8] = include_bytes!("../../../assets/swagger-ui/swagger-ui.css.gz");
const START: &str = include_str!("../../../templates/docs.js");

static SCRIPT: Packed = Packed {
    media_type: "text/javascript; charset=utf-8",
    gzip: SCRIPT_GZIP,
    plain: LazyLock::new(|| unpack(SCRIPT_GZIP)),
};

static STYLE: Packed = Packed {
    media_type: "text/css; charset=utf-8",
    gzip: STYLE_GZIP,
    plain: LazyLock::new(|| unpack(STYLE_GZIP)),
};

/// `GET /docs/{file}`: what the page is made of.
pub(super) async fn show(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let cache = [(header::CACHE_CONTROL, CACHE)];
    let packed = match file.as_str() {
        "swagger-ui-bundle.js" => &SCRIPT,
        "swagger-ui.css" => &STYLE,
        "start.js" => {
            let media_type = [(header::CONTENT_TYPE, SCRIPT.media_type)];
            return (cache, media_type, START).into_response();
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let about = [
        (header::CONTENT_TYPE, packed.media_type),
        (header::VARY, "accept-encoding"),
    ];
    if reads_gzip(&headers) {
        let encoding = [(header::CONTENT_ENCODING, "gzip")];
        (cache, about, encoding, packed.gzip).into_response()
    } else {
        (cache, about, packed.plain.clone()).into_response()
    }
}

/// # Panics
/// When the file in git is damaged, which a test would see.
fn unpack(gzip: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    let unpacked = GzDecoder::new(gzip).read_to_end(&mut plain);
    unpacked.expect("the file is a whole gzip");
    plain.into()
}
