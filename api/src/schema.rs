//! Schemas of values that more than one endpoint takes: `#[schema(schema_with = schema::email)]`.
//!
//! They say what `domain` takes, no more and no less: the document promises that what fits it is
//! accepted and that anything else is refused.

use domain::accounts::{NAME_LENGTH, Role};
use serde_json::json;
use utoipa::openapi::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};

/// Texts in general: all that Postgres can store.
pub(crate) const ANY_TEXT: &str = r"^[^\u0000]*$";

/// [`domain::accounts::Email`].
pub(crate) fn email() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Email)))
        .max_length(Some(254))
        .pattern(Some(
            r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{1,63}$",
        ))
        .examples([json!("ada@example.com")])
        .build()
}

/// [`domain::accounts::Password`].
pub(crate) fn password() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
        .min_length(Some(8))
        .max_length(Some(256))
        .pattern(Some(ANY_TEXT))
        .examples([json!("correct horse battery")])
        .build()
}

/// [`domain::Token`].
pub(crate) fn token() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"))
        .examples([json!("Zk3v0n8Qm1x5r7T2y9W4b6C8d0E2f4G6h8J0k2L4m6A")])
        .build()
}

/// [`domain::accounts::Name`].
pub(crate) fn name() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(NAME_LENGTH))
        .pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f]*$"))
        .examples([json!("Ada Lovelace")])
        .build()
}

/// [`domain::accounts::Role`].
pub(crate) fn role() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some([Role::Member, Role::Admin].map(Role::as_str)))
        .build()
}
