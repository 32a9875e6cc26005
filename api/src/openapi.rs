//! The OpenAPI document, made from the handlers.
//!
//! A handler's `#[utoipa::path]` says only what is its own: path, tag, body, what it answers when
//! all is well, and the errors that its feature has. What every handler of a kind has is added
//! here, from `openapi/shared.json`, which is OpenAPI too: an operation
//!
//! - can always answer 400, 413 (also to a body that it has no use for), 500 and 503, and always
//!   sends `X-Request-Id`;
//! - with a request body can answer 408, 415 and 422, and takes no fields but its own;
//! - with `security` can answer 401; with ids in its path, 404; with a query, 422;
//! - with [`IfMatch`](crate::etag::IfMatch) among its `params` can answer 412, with
//!   [`IfNoneMatch`](crate::etag::IfNoneMatch) 304, and with either sends an `ETag`;
//! - that can answer 201 sends `Location` and `ETag`; one that can answer 429 sends the `RateLimit`
//!   fields with whatever it answers.
//!
//! A response without a description, `(status = 429)`, is the one that `shared.json` has for its
//! status. One with a description of its own keeps it, and gets headers and the problem's body.
//!
//! A field has an example where its type does not say enough; those of whole bodies are made of them.
//!
//! Schemas are named for their types, wherever those are: two types of one name would be one schema.
//!
//! `cargo xtask openapi` writes the document to `openapi.json`, where a test looks for it.

mod examples;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

use crate::routes;

/// What is the same for many operations, and the probes, whose handlers know nothing of OpenAPI.
const SHARED: &str = include_str!("openapi/shared.json");

static DOCUMENT: LazyLock<Value> = LazyLock::new(make);

/// The document.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The document as the file `openapi.json` has it.
pub fn text() -> String {
    format!("{:#}\n", *DOCUMENT)
}

/// An optional header of a request, for the document.
pub(crate) fn header_parameter(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// # Panics
/// When `shared.json` is not JSON.
fn make() -> Value {
    let mut document: Value = serde_json::from_str(SHARED).expect("shared.json is JSON");
    let mut handlers = json!(routes::router().into_openapi());
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    extend(&mut document["paths"], handlers["paths"].take());
    let schemas = handlers["components"]["schemas"].take();
    extend(&mut document["components"]["schemas"], schemas);

    examples::of_properties(&mut document["components"]["schemas"]);

    let mut paths = document["paths"].take();
    for operation in operations(&mut paths) {
        complete(operation, &mut document["components"]);
    }
    document["paths"] = paths;
    document
}

/// Every operation of every path.
fn operations(paths: &mut Value) -> impl Iterator<Item = &mut Value> {
    let items = paths.as_object_mut().into_iter().flat_map(Map::values_mut);
    let members = items.filter_map(Value::as_object_mut);
    members
        .flat_map(Map::values_mut)
        .filter(|member| member["responses"].is_object())
}

/// Adds to an operation what its kind has, to its body an example, and to the schema of that that
/// it is closed.
fn complete(operation: &mut Value, components: &mut Value) {
    let body = operation.pointer_mut("/requestBody/content/application~1json");
    if let Some(body) = body {
        body["example"] = json!(examples::of(&body["schema"], &components["schemas"]));
        let path = body["schema"]["$ref"].as_str();
        if let Some(schema) = path.and_then(|path| path.rsplit('/').next()) {
            components["schemas"][schema]["additionalProperties"] = json!(false);
        }
    }
    // Handlers are named for their verb; with the tag that is a name of its own.
    if let (Some(tag), Some(verb)) = (
        operation["tags"][0].as_str(),
        operation["operationId"].as_str(),
    ) {
        operation["operationId"] = json!(format!("{}.{verb}", tag.replace(' ', "-")));
    }
    let kinds = statuses(operation);
    let versioned = kinds.contains(&"412") || kinds.contains(&"304");
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for status in kinds {
        let response = responses.entry(status);
        response.or_insert_with(|| json!({ "description": "" }));
    }
    let limited = responses.contains_key("429");
    for (status, response) in responses {
        let shared = &components["responses"][status];
        let described = response["description"].as_str().unwrap_or_default() != "";
        if !described && shared.is_object() {
            if !limited || status == "429" {
                *response = json!({ "$ref": format!("#/components/responses/{status}") });
                continue;
            }
            response["description"] = shared["description"].clone();
        }
        for part in ["headers", "content"] {
            let own = response[part].take();
            response[part] = shared[part].clone();
            extend(&mut response[part], own);
        }
        let succeeds = status.starts_with('2');
        let headers = [
            ("X-Request-Id", true),
            (
                "ETag",
                status == "201" || succeeds && versioned && status != "204",
            ),
            ("Location", status == "201"),
            ("RateLimit", limited),
            ("RateLimit-Policy", limited),
        ];
        for (name, _) in headers.iter().filter(|(_, sent)| *sent) {
            let header = json!({ "$ref": format!("#/components/headers/{name}") });
            extend(&mut response["headers"], json!({ *name: header }));
        }
        if response["content"].is_null() {
            response
                .as_object_mut()
                .map(|response| response.remove("content"));
        }
    }
}

/// The errors that an operation has by what it takes.
fn statuses(operation: &Value) -> Vec<&'static str> {
    let parameters = operation["parameters"].as_array();
    let has = |key: &str, value: &str| {
        let mut parameters = parameters.into_iter().flatten();
        parameters.any(|parameter| parameter[key] == value)
    };
    let kinds: [(bool, &[&str]); 7] = [
        (true, &["400", "413", "500", "503"]),
        (operation["requestBody"].is_object(), &["408", "415", "422"]),
        (operation["security"].is_array(), &["401"]),
        (has("in", "path"), &["404"]),
        (has("in", "query"), &["422"]),
        (has("name", "if-match"), &["412"]),
        (has("name", "if-none-match"), &["304"]),
    ];
    let kinds = kinds.into_iter().filter(|(is, _)| *is);
    kinds.flat_map(|(_, statuses)| statuses).copied().collect()
}

/// Puts the members of `more` into `object`, which may be null: then it is made.
fn extend(object: &mut Value, more: Value) {
    let Value::Object(more) = more else {
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    if let Some(object) = object.as_object_mut() {
        object.extend(more);
    }
}
