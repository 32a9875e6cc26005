//! What nobody sends by mistake: each is refused with a problem, no 5xx, and one short log line.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tracing::Level;

use crate::{
    app::{Answer, Log, PASSWORD, TestApp, request},
    socket::run_with,
};

/// The longest line that a request may leave in the log, in bytes.
const LONGEST_LINE: usize = 1024;
/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

async fn post(app: &TestApp, path: &str, body: impl Into<Body>) -> Answer {
    send(app, Method::POST, path, "", body).await
}

async fn send(
    app: &TestApp,
    method: Method,
    path: &str,
    access_token: &str,
    body: impl Into<Body>,
) -> Answer {
    let request = request(method, path)
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", "a-key")
        .header(header::AUTHORIZATION, format!("Bearer {access_token}"));
    app.send(request.body(body.into()).unwrap()).await
}

/// Each operation that takes a JSON body: its method, its path, and the schema of the body.
fn with_a_body() -> impl Iterator<Item = (Method, String, &'static Value)> {
    let document = api::openapi::document();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (method, path, operation))
    });
    operations.filter_map(|(method, path, operation)| {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str()?.rsplit('/').next().unwrap();
        // An id that nothing has; the body is read before anything is looked for.
        let parts = path.split('/').map(|part| match part.starts_with('{') {
            true => "0192d3a5-0000-7000-8000-000000000000",
            false => part,
        });
        Some((
            Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
            parts.collect::<Vec<_>>().join("/"),
            &document["components"]["schemas"][name],
        ))
    })
}

/// Of somebody who may do anything that members may.
async fn access_token(app: &TestApp) -> String {
    app.verified("ada@example.com").await;
    let tokens = app.log_in("ada@example.com", PASSWORD).await.json();
    tokens["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn bodies_that_are_no_text_or_no_json_are_refused_everywhere() {
    let app = TestApp::with(|settings| settings.http.body_limit = 1024 * 1024).await;
    let access_token = access_token(&app).await;
    let huge = format!("{{\"email\":{}}}", "9".repeat(5_000));
    let bodies: Vec<Vec<u8>> = [
        &b"\xff\xfe{}"[..],
        b"{\"email\":\"\xff\"}",
        b"{\"email\":\"\xed\xa0\x80\"}",
        b"{\"\xc3\x28\":1}",
        b"\0",
        b"{\"email\":\"a\0b\"}",
        b"{\"email\":\"\\ud800\"}",
        b"{\"email\":1e999}",
        b"{\"email\":NaN}",
        b"\xef\xbb\xbf{}",
        b"{\"email\":1,\"email\":2}",
        b"{\"email\":{\"a\":1,\"\\u0061\":2}}",
        huge.as_bytes(),
        &b"[".repeat(100_000),
        &b"{\"a\":".repeat(100_000),
    ]
    .map(<[u8]>::to_vec)
    .into();
    let log = Log::capture(Level::INFO);
    let mut sent = 0;
    for (method, path, _) in with_a_body() {
        for body in &bodies {
            let answer = send(&app, method.clone(), &path, &access_token, body.clone()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_eq!(
                answer.status,
                StatusCode::BAD_REQUEST,
                "{method} {path} {shown}"
            );
            answer.problem(StatusCode::BAD_REQUEST);
            sent += 1;
        }
    }
    assert!(sent >= 3 * bodies.len(), "{sent}");
    assert_one_short_line_each(&log, sent);
}

#[tokio::test]
async fn no_field_takes_a_text_with_a_null_or_a_value_of_another_kind() {
    let app = TestApp::new().await;
    let access_token = access_token(&app).await;
    let digits = "9".repeat(300);
    let mut texts = 0;
    for (method, path, schema) in with_a_body() {
        for (name, property) in schema["properties"].as_object().unwrap() {
            let kinds = &property["type"];
            let is_text = *kinds == "string" || kinds[0] == "string";
            let mut values = vec![&*digits, "-1.5e300", r#"[["\u0000"],1]"#];
            if *kinds != "object" {
                values.push(r#"{"a":{}}"#);
            }
            if is_text {
                values.push(r#""long enough\u0000""#);
                texts += 1;
            }
            for value in values {
                // What takes any JSON there is takes these, too.
                if kinds.is_null() && property["$ref"].is_null() {
                    continue;
                }
                let body = format!(r#"{{"{name}":{value}}}"#);
                let answer = send(&app, method.clone(), &path, &access_token, body).await;
                let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
                let pointer = format!("/{name}");
                let errors = problem["errors"].as_array().unwrap();
                let named = errors.iter().any(|error| {
                    let at = error["pointer"].as_str().unwrap();
                    at.starts_with(&pointer) && error["detail"] != "is missing"
                });
                assert!(named, "{method} {path}: {value} for {name}: {problem}");
            }
        }
    }
    assert!(texts >= 5, "{texts}");
}

#[tokio::test]
async fn paths_that_are_written_in_a_roundabout_way_lead_nowhere() {
    let app = TestApp::new().await;
    let log = Log::capture(Level::INFO);
    let long = format!("/{}", "a".repeat(60_000));
    let query = format!("/v1/nothing?{}", "a=b&".repeat(10_000));
    let paths = [
        "/v1/%61ccounts",
        "/v1/accounts%00",
        "/v1/accounts%2fverify",
        "/v1/accounts/",
        "//v1/accounts",
        "/v1//accounts",
        "/v1/../v1/accounts",
        "/v1/%2e%2e/v1/accounts",
        "/v1/%ff%fe",
        "/v1/%zz",
        "/v1/accounts;x=1",
        "/%0d%0aSet-Cookie:a=b",
        &long,
        &query,
    ];
    for path in paths {
        let answer = post(&app, path, "{}").await;
        answer.problem(StatusCode::NOT_FOUND);
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
        assert!(
            answer.body.len() < 2 * LONGEST_LINE,
            "{}",
            answer.body.len()
        );
    }
    assert_one_short_line_each(&log, paths.len());
    for query in [
        "token=%00",
        "token=%ff",
        "token=%zz",
        "token[]=a",
        "%",
        "token=a&token=b",
    ] {
        let answer = app.get(&format!("/verify?{query}")).await;
        assert!(answer.status.is_client_error(), "{query}: {answer:?}");
    }
}

fn assert_one_short_line_each(log: &Log, requests: usize) {
    let lines = log.lines();
    assert_eq!(lines.len(), requests, "{lines:#?}");
    for line in lines {
        assert!(line.len() <= LONGEST_LINE, "{} bytes: {line}", line.len());
    }
}

/// Sends this over a connection of its own, and gives all that comes back until it is closed.
async fn exchange(addr: SocketAddr, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    for part in parts {
        // One that is refused early may be closed before all of it is sent.
        if stream.write_all(part).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the connection is closed").unwrap();
    String::from_utf8(answer).unwrap()
}

const HEAD: &str = "POST /v1/accounts HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn ten_megabytes_are_refused_and_the_connection_goes_on() {
    let running = run_with(|_| {}).await;
    let body = vec![b' '; 10 * 1024 * 1024];
    let head = format!("{HEAD}content-length: {}\r\n\r\n", body.len());
    let next = b"GET /livez HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let answers = exchange(running.addr, &[head.as_bytes(), &body, next]).await;
    assert!(answers.starts_with("HTTP/1.1 413"), "{answers}");
    assert!(answers.contains("application/problem+json"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200"), "{answers}");
    running.stop().await;
}

#[tokio::test]
async fn ten_megabytes_without_a_length_are_refused_too() {
    let running = run_with(|_| {}).await;
    let head = format!("{HEAD}transfer-encoding: chunked\r\n\r\n");
    let mut body = Vec::new();
    for _ in 0..160 {
        body.extend_from_slice(b"10000\r\n");
        body.extend(std::iter::repeat_n(b' ', 0x10000));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let answer = exchange(running.addr, &[head.as_bytes(), &body]).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_when_its_time_is_over() {
    let limit = Duration::from_millis(300);
    let running = run_with(|settings| settings.http.request_timeout = limit).await;
    let head = format!("{HEAD}content-length: 1000\r\n\r\n");
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let drip = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    // A byte that crosses the close is answered with a reset; the answer came before it.
    let _ = timeout(PATIENCE, read.read_to_end(&mut answer))
        .await
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    // Nothing of ours is away, so that nobody is told to come again soon.
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(!answer.contains("retry-after"), "{answer}");
    drip.abort();
    running.stop().await;
}

#[tokio::test]
async fn heads_that_are_too_large_or_no_http_end_the_connection() {
    let running = run_with(|_| {}).await;
    let many: String = (0..200).map(|n| format!("x-{n}: a\r\n")).collect();
    let many = format!("GET /livez HTTP/1.1\r\nhost: test\r\n{many}\r\n");
    let long = format!(
        "GET /livez HTTP/1.1\r\nx: {}\r\n\r\n",
        "a".repeat(1_000_000)
    );
    let path = format!("GET /{} HTTP/1.1\r\nhost: test\r\n\r\n", "a".repeat(70_000));
    for (sent, status) in [
        (many.as_bytes(), "431"),
        (long.as_bytes(), "431"),
        (path.as_bytes(), "414"),
        (b"GET /livez HTTP/1.1\r\nhost: a\r\nx\0: b\r\n\r\n", "400"),
        (b"GET /livez HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", "400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", "400"),
        // Two lengths, or a length and chunks, are how requests are smuggled past a proxy.
        (
            b"POST /v1/accounts HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
            "400",
        ),
        (
            b"POST /v1/accounts HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n{}",
            "400",
        ),
    ] {
        let answer = exchange(running.addr, &[sent]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_request_names_one_host() {
    let running = run_with(|_| {}).await;
    let rest = "connection: close\r\n\r\n";
    for (head, status) in [
        ("HTTP/1.1\r\n", "400"),
        ("HTTP/1.1\r\nhost: a\r\nhost: b\r\n", "400"),
        ("HTTP/1.1\r\nhost: a\r\nhost: a\r\n", "400"),
        ("HTTP/1.1\r\nhost: a b\r\n", "400"),
        ("HTTP/1.1\r\nhost: a/b\r\n", "400"),
        ("HTTP/1.0\r\nhost: a\r\nhost: b\r\n", "400"),
        ("HTTP/1.1\r\nhost: [::1]:8000\r\n", "200"),
        ("HTTP/1.1\r\nhost:\r\n", "200"),
        ("HTTP/1.0\r\n", "200"),
    ] {
        let request = format!("GET /livez {head}{rest}");
        let answer = exchange(running.addr, &[request.as_bytes()]).await;
        let is = answer.split(' ').nth(1).unwrap();
        assert_eq!(is, status, "{head:?}: {answer}");
        let problem = answer.contains("application/problem+json");
        assert_eq!(problem, status == "400", "{answer}");
    }
    // The service as a whole has no path.
    let request = format!("OPTIONS * HTTP/1.1\r\nhost: a\r\n{rest}");
    let answer = exchange(running.addr, &[request.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_client_is_known_by_its_connection_unless_a_proxy_is_trusted() {
    let body = r#"{"email":"a@example.com","password":"a wrong guess"}"#;
    for (proxies, statuses) in [(0, ["401", "429"]), (1, ["401", "401"])] {
        let running = run_with(|settings| {
            settings.http.trusted_proxies = proxies;
            let limits = [("API_LIMITS", "log-in-by-address=1/3600")];
            let limits = service::settings::Reader::from_pairs(limits);
            settings.limits = limits.read(api::limit::Quotas::read).unwrap();
        })
        .await;
        for (client, status) in ["192.0.2.1", "192.0.2.2"].iter().zip(statuses) {
            let request = format!(
                "POST /v1/sessions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
                 x-forwarded-for: 198.51.100.7\r\nx-forwarded-for: {client}\r\n\
                 connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let answer = exchange(running.addr, &[request.as_bytes()]).await;
            let expected = format!("HTTP/1.1 {status}");
            assert!(
                answer.starts_with(&expected),
                "{proxies}, {client}: {answer}"
            );
        }
        running.stop().await;
    }
}
