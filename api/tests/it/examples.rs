//! The examples of the OpenAPI document are there, and are what they are examples of.

use regex_lite::Regex;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::openapi::operations;

fn resolved(schema: &Value) -> &Value {
    match schema["$ref"].as_str() {
        Some(path) => api::openapi::document().pointer(&path[1..]).unwrap(),
        None => schema,
    }
}

/// Checks a value by the rules that our schemas have; one that is not known here fails, too.
fn check(schema: &Value, value: &Value, at: &str) {
    let schema = resolved(schema);
    for (rule, wanted) in schema.as_object().unwrap() {
        let length = || value.as_str().map(|text| text.chars().count() as u64);
        let number = || value.as_f64();
        let items = || value.as_array().map(|items| items.len() as u64);
        let fits = match rule.as_str() {
            "description" | "example" | "examples" | "default" => true,
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|wanted| is(wanted, value)),
                wanted => is(wanted, value),
            },
            "const" => value == wanted,
            "enum" => wanted.as_array().unwrap().contains(value),
            "pattern" => {
                let pattern = Regex::new(wanted.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "format" => value.as_str().is_none_or(|text| is_format(wanted, text)),
            "minLength" => length().is_none_or(|length| length >= wanted.as_u64().unwrap()),
            "maxLength" => length().is_none_or(|length| length <= wanted.as_u64().unwrap()),
            "minimum" => number().is_none_or(|number| number >= wanted.as_f64().unwrap()),
            "maximum" => number().is_none_or(|number| number <= wanted.as_f64().unwrap()),
            "minItems" => items().is_none_or(|length| length >= wanted.as_u64().unwrap()),
            "maxItems" => items().is_none_or(|length| length <= wanted.as_u64().unwrap()),
            "minProperties" => value.as_object().unwrap().len() as u64 >= wanted.as_u64().unwrap(),
            "required" => {
                let mut names = wanted.as_array().unwrap().iter();
                names.all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                for (name, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(schema, value, &format!("{at}.{name}"));
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = |name: &String| schema["properties"].get(name).is_some();
                let members = value.as_object().unwrap().iter();
                for (name, value) in members.filter(|(name, _)| !known(name)) {
                    assert!(*wanted != false, "{at} has no {name}");
                    check(wanted, value, &format!("{at}.{name}"));
                }
                true
            }
            "allOf" => {
                for part in wanted.as_array().unwrap() {
                    check(part, value, at);
                }
                true
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    check(wanted, item, &format!("{at}[]"));
                }
                true
            }
            unknown => panic!("{at}: nobody checks `{unknown}`"),
        };
        assert!(fits, "{at}: {value} against {rule} {wanted}");
    }
}

fn is(wanted: &Value, value: &Value) -> bool {
    match wanted.as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        unknown => panic!("{unknown} is no type"),
    }
}

fn is_format(wanted: &Value, text: &str) -> bool {
    match wanted.as_str().unwrap() {
        "uuid" => Uuid::parse_str(text).is_ok(),
        "date-time" => OffsetDateTime::parse(text, &Rfc3339).is_ok(),
        "email" => text.contains('@'),
        "uri-reference" | "password" => !text.contains(' ') || wanted == "password",
        unknown => panic!("nobody checks the format {unknown}"),
    }
}

#[test]
fn every_field_has_one_that_fits() {
    let schemas = api::openapi::document()["components"]["schemas"].as_object();
    let mut open: Vec<(String, &Value)> = Vec::new();
    let all = schemas.unwrap().iter();
    open.extend(all.map(|(name, schema)| (name.clone(), schema)));
    let mut checked = 0;
    while let Some((name, schema)) = open.pop() {
        let inside = schema["properties"].as_object();
        let parts = schema["allOf"].as_array().into_iter().flatten();
        open.extend(parts.map(|part| (name.clone(), part)));
        match schema.get("example").or(schema["examples"].get(0)) {
            Some(example) => check(schema, example, &name),
            // That of an object is made of its fields'.
            None => assert!(
                schema["$ref"].is_string() || schema["allOf"].is_array() || inside.is_some(),
                "{name} has none"
            ),
        }
        let inside = inside.into_iter().flatten();
        open.extend(inside.map(|(field, schema)| (format!("{name}.{field}"), schema)));
        checked += 1;
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn every_body_has_one_that_fits() {
    let responses = &api::openapi::document()["components"]["responses"];
    let responses = responses.as_object().unwrap().iter();
    let responses = responses.map(|(status, response)| {
        let content = &response["content"]["application/problem+json"];
        (status.clone(), content)
    });
    let requests = operations().map(|(path, method, operation)| {
        let content = &operation["requestBody"]["content"]["application/json"];
        (format!("{method} {path}"), content)
    });
    for (what, content) in responses.chain(requests) {
        if content.is_object() {
            assert!(content["example"].is_object(), "{what} has none");
            check(&content["schema"], &content["example"], &what);
        }
    }
}
