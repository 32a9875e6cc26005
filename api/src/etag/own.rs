//! Versions of what every caller has at one path, such as `/v1/me`.
//!
//! There a number alone would be the same for many. Whose version it is stands in the tag, or a
//! client that logs out and in again as somebody else would be told that nothing has changed.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::request::Parts,
    response::{IntoResponseParts, ResponseParts},
};
use uuid::Uuid;

/// The version of an account's own resource, as [`ETag`](super::ETag) is of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnETag(pub Uuid, pub i64);

impl IntoResponseParts for OwnETag {
    type Error = Infallible;

    fn into_response_parts(self, parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let Self(account, version) = self;
        super::tagged(parts, &text(account, version))
    }
}

/// The tag without its quotes.
fn text(account: Uuid, version: i64) -> String {
    format!("{}-{version}", account.simple())
}

/// The versions of one's own that a change may be made to, as [`IfMatch`](super::IfMatch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnIfMatch(Option<Vec<(Uuid, i64)>>);

impl OwnIfMatch {
    /// Those of this account; `None` for any.
    pub fn versions(self, account: Uuid) -> Option<Vec<i64>> {
        let mut tags = self.0?;
        tags.retain(|(whose, _)| *whose == account);
        Some(tags.into_iter().map(|(_, version)| version).collect())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OwnIfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let tags = super::if_match(&parts.headers, |tag| {
            let (whose, version) = tag.split_once('-')?;
            let own = (whose.parse().ok()?, version.parse().ok()?);
            (text(own.0, own.1) == tag).then_some(own)
        });
        Ok(Self(tags))
    }
}
