//! The OpenAPI document says what the service does.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::Value;

use crate::app::{TestApp, request};

/// Path, method and description of every operation.
pub(crate) fn operations() -> impl Iterator<Item = (&'static str, String, &'static Value)> {
    let paths = api::openapi::document()["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (path.as_str(), method.to_uppercase(), operation))
    })
}

#[test]
fn the_file_in_git_is_the_document() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let text = std::fs::read_to_string(file).unwrap();
    let here: Value = serde_json::from_str(&text).unwrap();
    assert!(
        here == *api::openapi::document(),
        "api/openapi.json is not what the handlers say: run `cargo xtask openapi`"
    );
}

#[test]
fn every_operation_is_described_and_has_a_name_of_its_own() {
    let document = api::openapi::document();
    assert_eq!(document["openapi"], "3.1.0");
    let tags = document["tags"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} is the name of two operations");
        assert!(operation["summary"].is_string(), "{method} {path}");
        let tag = &operation["tags"][0];
        let described = tags.iter().any(|described| described["name"] == *tag);
        assert!(described, "{tag} of {method} {path} is not in shared.json");
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            let described = response["$ref"].is_string()
                || response["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty());
            assert!(described, "{status} of {method} {path}");
            assert!(
                response["$ref"].is_string() || response["headers"]["X-Request-Id"].is_object(),
                "{status} of {method} {path}"
            );
        }
        for standard in ["400", "413", "500", "503"] {
            assert!(responses.contains_key(standard), "{method} {path}");
        }
        if operation["requestBody"].is_object() {
            for of_bodies in ["408", "415", "422"] {
                assert!(responses.contains_key(of_bodies), "{method} {path}");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members
                    .values()
                    .for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = api::openapi::document();
    let mut found = Vec::new();
    references(document, &mut found);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn every_path_has_exactly_the_methods_of_the_document() {
    let app = TestApp::new().await;
    for path in operations().map(|(path, ..)| path).collect::<BTreeSet<_>>() {
        // What stands for an id needs not be one for OPTIONS.
        let somewhere = path.replace(['{', '}'], "");
        let options = request(Method::OPTIONS, &somewhere);
        let options = app.send(options.body(Body::empty()).unwrap()).await;
        options.expect(StatusCode::NO_CONTENT);
        let mut has: Vec<&str> = options.header("allow").split(',').collect();
        has.retain(|method| *method != "HEAD");
        has.sort_unstable();
        let listed: Vec<String> = operations()
            .filter(|(of, ..)| *of == path)
            .map(|(_, method, _)| method)
            .collect();
        assert_eq!(has, listed, "{path}");
    }
}

#[tokio::test]
async fn browsers_may_send_and_read_every_header_of_the_document() {
    let friend = "https://app.test";
    let app = TestApp::with(|settings| settings.http.cors_origins = vec![friend.into()]).await;
    let preflight = request(Method::OPTIONS, "/v1/me")
        .header("origin", friend)
        .header("access-control-request-method", "PATCH");
    let allowed = app.send(preflight.body(Body::empty()).unwrap()).await;
    let allowed = allowed.header("access-control-allow-headers").to_owned();
    let get = request(Method::GET, "/v1/me").header("origin", friend);
    let exposed = app.send(get.body(Body::empty()).unwrap()).await;
    let exposed = exposed.header("access-control-expose-headers").to_owned();

    let has = |list: &str, name: &str| list.split(',').any(|of| of.eq_ignore_ascii_case(name));
    for (path, method, operation) in operations() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let is_header = parameter["in"] == "header";
            assert!(
                !is_header || has(&allowed, name),
                "{name} of {method} {path}: {allowed}"
            );
        }
        for response in operation["responses"].as_object().unwrap().values() {
            for name in response["headers"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
            {
                assert!(has(&exposed, name), "{name} of {method} {path}: {exposed}");
            }
        }
    }
    let shared = api::openapi::document()["components"]["headers"]
        .as_object()
        .unwrap();
    for name in shared.keys() {
        assert!(has(&exposed, name), "{name}: {exposed}");
    }
}

#[tokio::test]
async fn every_get_has_a_head_and_every_other_method_is_405() {
    let app = TestApp::new().await;
    for (path, methods) in operations().fold(
        std::collections::BTreeMap::<_, Vec<_>>::new(),
        |mut paths, (path, method, _)| {
            paths.entry(path).or_default().push(method);
            paths
        },
    ) {
        let somewhere = path.replace(['{', '}'], "");
        let ask = async |method: Method| {
            app.send(request(method, &somewhere).body(Body::empty()).unwrap())
                .await
        };
        let head = ask(Method::HEAD).await;
        if methods.iter().any(|method| method == "GET") {
            let get = ask(Method::GET).await;
            assert_eq!(head.status, get.status, "{path}");
            assert!(head.body.is_empty(), "{path}");
            assert_eq!(
                head.header("content-type"),
                get.header("content-type"),
                "{path}"
            );
        } else {
            head.expect(StatusCode::METHOD_NOT_ALLOWED);
        }
        for method in [Method::PUT, Method::TRACE, Method::PATCH, Method::DELETE] {
            if !methods.iter().any(|has| has == method.as_str()) {
                let answer = ask(method).await;
                answer.problem(StatusCode::METHOD_NOT_ALLOWED);
                assert!(
                    methods
                        .iter()
                        .all(|has| answer.header("allow").contains(has)),
                    "{path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_document_is_served_and_listed() {
    let app = TestApp::new().await;
    let answer = app.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(
        answer.expect(StatusCode::OK).json(),
        *api::openapi::document()
    );

    let index = app.get("/").await.expect(StatusCode::OK).json();
    assert_eq!(index["name"], "slipway");
    assert_eq!(index["version"], env!("CARGO_PKG_VERSION"));
    let listed = index["endpoints"].as_array().unwrap().iter();
    let listed: Vec<_> = listed
        .map(|line| {
            (
                line["path"].as_str().unwrap(),
                line["method"].as_str().unwrap(),
            )
        })
        .collect();
    let there: Vec<_> = operations().collect();
    let there: Vec<_> = there
        .iter()
        .map(|(path, method, _)| (*path, method.as_str()))
        .collect();
    assert_eq!(listed, there);
    // It names what is there.
    let documentation = index["documentation"].as_str().unwrap();
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["README.md", "docs"] {
        assert!(documentation.contains(name), "{documentation}");
        assert!(repository.join(name).exists(), "{name}");
    }
}
