//! Examples of whole bodies, made of those of their fields.
//!
//! A field says its example where its type says too little: a text, a number. What an id, a time or
//! a boolean looks like is said here, and an object or a list is made of what is in it.

use serde_json::{Map, Value, json};

/// Gives every property of `schemas` an example that can have one.
pub(super) fn of_properties(schemas: &mut Value) {
    let all = schemas.clone();
    let members = schemas
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut);
    for schema in members {
        complete(schema, &all);
    }
}

/// Gives the properties of an object, and of what is in a list, theirs.
fn complete(schema: &mut Value, schemas: &Value) {
    if let Some(items) = schema.get_mut("items") {
        complete(items, schemas);
    }
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten() {
        complete(part, schemas);
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(Map::values_mut) {
        complete(property, schemas);
        let own = ["$ref", "example", "examples"];
        if own.iter().all(|key| property.get(key).is_none())
            && let Some(example) = of(property, schemas)
        {
            property["examples"] = json!([example]);
        }
    }
}

/// What fits this schema; `None` where nothing says what that might be.
pub(super) fn of(schema: &Value, schemas: &Value) -> Option<Value> {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        return of(&schemas[name], schemas);
    }
    let own = [
        schema.get("example"),
        schema["examples"].get(0),
        schema.get("const"),
        schema["enum"].get(0),
    ];
    if let Some(own) = own.into_iter().flatten().next() {
        return Some(own.clone());
    }
    if let Some(properties) = schema["properties"].as_object() {
        let members = properties.iter();
        let members =
            members.filter_map(|(name, property)| Some((name.clone(), of(property, schemas)?)));
        return Some(members.collect());
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().filter_map(|part| of(part, schemas));
        let mut whole = json!({});
        parts.for_each(|part| super::extend(&mut whole, part));
        return Some(whole);
    }
    if schema["items"].is_object() {
        return Some(json!([of(&schema["items"], schemas)?]));
    }
    match schema["format"].as_str() {
        Some("uuid") => Some(json!("0192d3a5-7c1e-7b3a-9f52-3c5d8e6a1b04")),
        Some("date-time") => Some(json!("2026-03-20T13:12:25.5Z")),
        _ => (schema["type"] == "boolean").then_some(json!(true)),
    }
}
