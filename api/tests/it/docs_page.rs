//! The page that shows the OpenAPI document needs nothing but this service.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};

use crate::app::{TestApp, request};

#[tokio::test]
async fn the_page_and_all_that_it_loads_is_from_here() {
    let app = TestApp::new().await;
    let page = app.get("/docs").await;
    page.expect(StatusCode::OK);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert!(!policy.contains("unsafe") && !policy.contains("http"));

    let html = page.text();
    assert!(!html.contains("//"), "another host in {html}");
    let mut loaded = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        let links = html.split(attribute).skip(1);
        loaded.extend(links.map(|rest| rest.split('"').next().unwrap()));
    }
    loaded.retain(|link| *link != "data:,");
    assert_eq!(loaded.len(), 4, "{loaded:?}");
    for link in loaded {
        let answer = app.get(&format!("/{link}")).await;
        answer.expect(StatusCode::OK);
        assert!(!answer.text().is_empty());
        assert!(answer.headers.contains_key("content-security-policy"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    // The one line that could send the document's address elsewhere.
    assert!(
        app.get("/docs/start.js")
            .await
            .text()
            .contains("validatorUrl: null")
    );
}

#[tokio::test]
async fn its_files_are_sent_as_they_are_kept_or_unpacked() {
    let app = TestApp::new().await;
    for (file, size) in [
        ("swagger-ui-bundle.js", 1_732_839),
        ("swagger-ui.css", 187_956),
    ] {
        let path = format!("/docs/{file}");
        let zipped = request(Method::GET, &path).header("accept-encoding", "gzip, br");
        let zipped = app.send(zipped.body(Body::empty()).unwrap()).await;
        assert_eq!(zipped.header("content-encoding"), "gzip");
        assert!(zipped.body.len() < size / 3);
        let plain = app.get(&path).await;
        assert!(!plain.headers.contains_key("content-encoding"));
        assert_eq!(plain.body.len(), size);
        for answer in [zipped, plain] {
            assert_eq!(answer.header("vary"), "accept-encoding");
            assert_eq!(answer.header("cache-control"), "public, max-age=3600");
        }
    }
    app.get("/docs/other.js")
        .await
        .problem(StatusCode::NOT_FOUND);
}
