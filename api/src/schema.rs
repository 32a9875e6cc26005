//! Schemas of values that more than one endpoint takes: `#[schema(schema_with = schema::email)]`.
//!
//! They say what `domain` takes, no more and no less: the document promises that what fits it is
//! accepted and that anything else is refused.

use domain::accounts::{NAME_LENGTH, Role};
use domain::webhooks::{DeliveryState, Target};
use serde_json::{Value, json};
use utoipa::openapi::{
    Array, ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat, Type, schema::SchemaType,
};

/// Texts in general: all that Postgres can store.
pub(crate) const ANY_TEXT: &str = r"^[^\u0000]*$";

/// [`domain::accounts::Email`].
pub(crate) fn email() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Email)))
        .max_length(Some(254))
        .pattern(Some(
            r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
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

/// [`domain::webhooks::Target`], as it is outside of development, and in the form in which it is
/// kept: one that is changed on the way in, say by a `/` at its end, may become too long.
pub(crate) fn webhook_url() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(Target::MAX_LENGTH))
        .pattern(Some(concat!(
            r"^https://([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}(:[1-9][0-9]{0,3})?",
            r"/[A-Za-z0-9._~!$&'()*+,;=:@/-]*(\?[A-Za-z0-9._~!$&()*+,;=:@/?-]*)?$",
        )))
        .examples([json!("https://example.com/hooks")])
        .build()
}

/// [`domain::webhooks::EventType`].
pub(crate) fn event_type() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(128))
        .pattern(Some(r"^[a-z0-9_]+(\.[a-z0-9_]+)*$"))
        .examples([json!("invoice.paid")])
        .build()
}

/// What an event has to say: any object.
pub(crate) fn event_data() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .examples([json!({ "invoice": "2026-117", "total": 99.90 })])
        .build()
}

/// The same, without those that only the service sends.
pub(crate) fn event_type_to_send() -> Object {
    ObjectBuilder::from(event_type())
        .description(Some(
            "Types that begin with `webhook.` are the service's own.",
        ))
        .build()
}

/// A list of [`domain::webhooks::EventFilter`]s.
pub(crate) fn event_filters() -> Array {
    let filter = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(128))
        .pattern(Some(r"^[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?$"));
    ArrayBuilder::new()
        .items(filter)
        .max_items(Some(64))
        .description(Some(
            "The types of events that it is told of, or all below one, as `invoice.*`; empty for \
             all.",
        ))
        .examples([json!(["invoice.*", "user.deleted"])])
        .build()
}

/// [`domain::webhooks::DeliveryState`].
pub(crate) fn delivery_state() -> Object {
    let states = DeliveryState::ALL.map(DeliveryState::as_str);
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(states))
        .build()
}

/// Why an endpoint is disabled; null for one that is not.
pub(crate) fn disabled_reason() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some([
            json!("owner"),
            json!("gone"),
            json!("failing"),
            Value::Null,
        ]))
        .examples([Value::Null])
        .description(Some(
            "`owner`: by its owner; `gone`: it answered 410; `failing`: it failed for five days.",
        ))
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
