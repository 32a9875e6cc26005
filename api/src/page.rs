//! Lists: a page at a time, from the newest to the oldest.
//!
//! A page begins after the last row of the one before, whose id is its cursor. So rows that come
//! in or go away between two requests shift nothing, and a late page costs what the first does.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::fields::{Fields, FromFields, text};

/// How many items a page has unless asked for fewer or more, and the most it can have.
const USUAL: u8 = 20;
const MOST: u8 = 100;

/// Which page of a list is asked for: `?limit=` and `?cursor=`.
///
/// ```text
/// let rows = widgets::list(&app.pool, caller.account_id, page.before(), page.rows()).await?;
/// Ok(Json(page.list(rows, |row| row.id)))
/// ```
///
/// with `WHERE ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3` in the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// The most items of one page.
    #[param(minimum = 1, maximum = 100, default = 20, required = false)]
    limit: u8,
    /// `next_cursor` of the page before; the first page without.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{21}[AQgw]$", nullable = false,
            example = "AZLTpXweezqfUjxdjmobBA")]
    cursor: Option<Uuid>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listed<T> {
    /// The items, newest first.
    pub(crate) data: Vec<T>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(
        required,
        pattern = "^[A-Za-z0-9_-]{21}[AQgw]$",
        example = "AZLTpXweezqfUjxdjmobBA"
    )]
    pub(crate) next_cursor: Option<String>,
}

impl Page {
    /// The rows of the page have smaller ids than this one.
    pub fn before(self) -> Option<Uuid> {
        self.cursor
    }

    /// How many rows to read: one more than is shown, which tells whether there is another page.
    pub fn rows(self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The answer: of [`rows`](Self::rows) rows all but the one that is too many.
    pub fn list<R, T: From<R>>(self, mut rows: Vec<R>, id: impl FnOnce(&R) -> Uuid) -> Listed<T> {
        let limit = usize::from(self.limit);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        Listed {
            next_cursor: last.map(|row| URL_SAFE_NO_PAD.encode(id(row))),
            data: rows.into_iter().map(T::from).collect(),
        }
    }
}

impl FromFields for Page {
    fn read(fields: &mut Fields) -> Option<Self> {
        let limit = fields.optional("limit", text(parse_limit));
        let cursor = fields.optional("cursor", text(parse_cursor));
        Some(Self {
            limit: limit?.unwrap_or(USUAL),
            cursor: cursor?,
        })
    }
}

fn parse_limit(text: &str) -> Result<u8, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    limit
        .filter(|_| digits)
        .ok_or_else(|| format!("must be a whole number from 1 to {MOST}"))
}

fn parse_cursor(text: &str) -> Result<Uuid, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let id = bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok());
    id.ok_or("must be the `next_cursor` of another page of this list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_the_id_of_the_last_row_and_only_where_more_follow() {
        let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
        let page = |limit| Page {
            limit,
            cursor: None,
        };
        let two: Listed<Uuid> = page(2).list(ids.clone(), |id| *id);
        assert_eq!(two.data, ids[..2]);
        assert_eq!(parse_cursor(&two.next_cursor.unwrap()), Ok(ids[1]));
        assert_eq!(page(2).rows(), 3);
        let all: Listed<Uuid> = page(3).list(ids.clone(), |id| *id);
        assert_eq!((all.data, all.next_cursor), (ids, None));
    }

    #[test]
    fn what_no_answer_has_said_is_no_cursor() {
        for text in ["", "x", &"A".repeat(21), &"B".repeat(22), &"A".repeat(23)] {
            assert!(parse_cursor(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_cursor(&"A".repeat(22)), Ok(Uuid::nil()));
    }

    #[test]
    fn a_limit_has_limits() {
        assert_eq!(parse_limit("1"), Ok(1));
        assert_eq!(parse_limit("100"), Ok(100));
        for text in ["", "0", "101", "256", "-1", "+1", " 1", "1.0", "ten"] {
            assert!(parse_limit(text).is_err(), "{text:?}");
        }
    }
}
