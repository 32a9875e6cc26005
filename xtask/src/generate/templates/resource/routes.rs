mod change;
mod create;
mod delete;
mod list;
mod show;

use domain::widgets::{self, ChangeError};
use serde::Serialize;
//# if integer
use serde_json::Value;
//# end
use time::{
    OffsetDateTime,
    //# if timestamp
    UtcOffset, format_description::well_known::Rfc3339,
    //# end
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    App,
    //# if integer
    fields::Fault,
    //# end
    problem::Problem,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(show::show, change::change, delete::delete))
}

/// {A thing} of the account's.
#[derive(Serialize, ToSchema)]
pub(super) struct Widget {
    id: Uuid,
    //# each
    EXAMPLE
    SERIALIZED
    FIELD: RUST_TYPE,
    //# end
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

impl From<widgets::Widget> for Widget {
    fn from(widget: widgets::Widget) -> Self {
        Self {
            id: widget.id,
            //# each
            FIELD: widget.FIELD,
            //# end
            created_at: widget.created_at,
            updated_at: widget.updated_at,
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Self::not_found(),
            ChangeError::VersionMismatch => Self::precondition_failed(),
            ChangeError::Internal(error) => error.into(),
        }
    }
}
//# if text

/// A text that the database can hold.
fn parse_text(text: &str) -> Result<String, &'static str> {
    if text.chars().count() > 256 {
        return Err("must be at most 256 characters long");
    }
    Ok(text.to_owned())
}
//# end
//# if integer

/// A number that the database can hold.
fn parse_integer(value: Value) -> Result<i32, Vec<Fault>> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        _ => None,
    };
    let number = number.and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| Fault::new("must be a whole number from -2147483648 to 2147483647"))
}
//# end
//# if timestamp

/// A time of the years that the answer can show.
fn parse_time(text: &str) -> Result<OffsetDateTime, &'static str> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    let time = time.and_then(|time| time.checked_to_offset(UtcOffset::UTC));
    time.filter(|time| time.year() >= 0)
        .ok_or("must be a time like 2026-11-30T12:00:00Z")
}
//# end
//# if uuid

fn parse_id(text: &str) -> Result<Uuid, &'static str> {
    Uuid::try_parse(text).map_err(|_| "must be a UUID")
}
//# end
