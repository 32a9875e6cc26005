//! What Prometheus reads of the running binary.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use service::{metrics, settings};
use uuid::Uuid;

use super::{
    app::{TestApp, request},
    binary::Server,
};

/// Asks over a connection of its own; returns the whole answer.
fn get(addr: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: t\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The series of a scrape with their values; every line is checked for its form.
fn scrape(addr: &str) -> BTreeMap<String, f64> {
    let answer = get(addr, "/metrics");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    let kind = "content-type: text/plain; version=0.0.4";
    assert!(head.contains(kind), "{head}");
    read(text)
}

/// Reads the text format: a family is its help, its type and then its samples, each once.
fn read(text: &str) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    let mut families = BTreeSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(families.insert(name) && help.ends_with('.'), "{line}");
            family = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            let known = ["counter", "gauge", "histogram"].contains(&kind);
            let total = (kind == "counter") == name.ends_with("_total");
            assert!(name == family && known && total, "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let end = name.find('{').unwrap_or(name.len());
            let rest = name[..end].strip_prefix(family).unwrap();
            assert!(["", "_bucket", "_sum", "_count"].contains(&rest), "{line}");
            let twice = series.insert(name.to_owned(), value.parse().unwrap());
            assert_eq!(twice, None, "{line}");
        }
    }
    series
}

/// Those of a service in this process.
async fn of(app: &TestApp) -> BTreeMap<String, f64> {
    let addr = Some("127.0.0.1:0".parse().unwrap());
    let settings = settings::Metrics { addr };
    let listener = metrics::listen(&settings).await.unwrap();
    let addr = listener.as_ref().unwrap().local_addr().unwrap();
    let serving = tokio::spawn(metrics::serve(listener, app.metrics.clone()));
    let series = tokio::task::spawn_blocking(move || scrape(&addr.to_string()));
    let series = series.await.unwrap();
    serving.abort();
    series
}

/// How many requests were answered so.
fn answered(series: &BTreeMap<String, f64>, method: &str, route: &str, status: u16) -> f64 {
    let name = format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
         http_response_status_code=\"{status}\",http_route=\"{route}\"}}"
    );
    series.get(&name).copied().unwrap_or_default()
}

/// A connection that stays open.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Asks, and returns the status.
    fn ask(&mut self, method: &str, path: &str) -> u16 {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        let mut status = None;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            status = status.or_else(|| line.split(' ').nth(1).map(|code| code.parse().unwrap()));
            if let Some(bytes) = line.strip_prefix("content-length: ") {
                length = bytes.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        self.0.read_exact(&mut body).unwrap();
        status.unwrap()
    }
}

#[test]
fn requests_are_counted_by_method_route_and_status() {
    let server = Server::start(20);
    let mut client = Client::of(&server);
    for _ in 0..3 {
        assert_eq!(client.ask("GET", "/livez"), 200);
    }
    assert_eq!(client.ask("HEAD", "/livez"), 200);
    assert_eq!(client.ask("POST", "/livez"), 405);
    let webhook = "/v1/webhooks/01970000-0000-7000-8000-000000000000";
    assert_eq!(client.ask("GET", webhook), 401);
    assert_eq!(client.ask("PATCH", "/v1/me"), 401);
    assert_eq!(client.ask("GET", "/nowhere"), 404);
    let held = server.hold();
    let series = scrape(&server.metrics);
    for (method, route, status, count) in [
        ("GET", "/livez", 200, 3.0),
        ("HEAD", "/livez", 200, 1.0),
        ("POST", "/livez", 405, 1.0),
        ("GET", "/v1/webhooks/{id}", 401, 1.0),
        ("PATCH", "/v1/me", 401, 1.0),
        ("GET", "", 404, 1.0),
    ] {
        let counted = answered(&series, method, route, status);
        assert!(
            (counted - count).abs() < 0.5,
            "{method} {route}: {series:#?}"
        );
    }
    assert_eq!(series["http_server_active_requests"].to_string(), "1");
    let info = concat!(
        "build_info{service=\"api\",version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"}"
    );
    assert!(series.contains_key(info), "{series:#?}");
    drop(held);
    server.signal("TERM");
    server.end();
}

#[tokio::test]
async fn what_strangers_think_of_makes_no_series() {
    let app = TestApp::new().await;
    let ask = async |method: &str, path: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = request(method, path);
        app.send(request.body(Body::empty()).unwrap()).await
    };
    for method in ["GET", "BREW"] {
        ask(method, "/first").await;
    }
    ask("GET", "/v1/webhooks/first").await;
    ask("BREW", "/v1/me").await;
    let before: BTreeSet<_> = of(&app).await.into_keys().collect();
    for number in 0..5_000 {
        ask("GET", &format!("/{number:x}/{}", Uuid::new_v4())).await;
        ask("GET", &format!("/v1/webhooks/{}", Uuid::new_v4())).await;
    }
    for number in 0..100 {
        ask(&format!("BREW{number}"), "/nowhere").await;
        ask(&format!("BREW{number}"), "/v1/me").await;
    }
    let after = of(&app).await;
    let new: Vec<_> = after
        .keys()
        .filter(|name| !before.contains(*name))
        .collect();
    assert!(new.is_empty(), "{new:#?}");
    let nowhere = answered(&after, "GET", "", 404);
    assert!((nowhere - 5_001.0).abs() < 0.5, "{nowhere}");
}

#[test]
fn metrics_are_told_until_the_last_request_has_its_answer() {
    let server = Server::start(20);
    let held = server.hold();
    server.signal("TERM");
    // Nobody new is let in; it waits for the one.
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(&server.addr).is_ok() {
        assert!(Instant::now() < end, "it still lets others in");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let series = scrape(&server.metrics);
    assert_eq!(series["http_server_active_requests"].to_string(), "1");
    drop(held);
    server.end();
}

#[test]
fn the_table_of_the_documents_is_what_is_told() {
    let server = Server::start(20);
    Client::of(&server).ask("GET", "/livez");
    let answer = get(&server.metrics, "/metrics");
    let types = answer.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    });
    let table = include_str!("../../../docs/observability.md");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let own = cells[2].contains("api");
        own.then(|| (cells[1].trim_matches('`').to_owned(), cells[3].to_owned()))
    });
    let (told, documented): (BTreeSet<_>, BTreeSet<_>) = (types.collect(), rows.collect());
    assert_eq!(told, documented);
    server.signal("TERM");
    server.end();
}

#[tokio::test]
async fn what_a_limit_refuses_is_counted_by_its_policy() {
    let app = TestApp::with(|all| {
        let limits = settings::Reader::from_pairs([("API_LIMITS", "token-by-address=1/60")]);
        all.limits = limits.read(api::limit::Quotas::read).unwrap();
    })
    .await;
    let body = serde_json::json!({ "token": "A".repeat(43) });
    let statuses = [
        app.post("/v1/accounts/verify", &body).await.status,
        app.post("/v1/accounts/verify", &body).await.status,
    ];
    assert_eq!(statuses[1], StatusCode::TOO_MANY_REQUESTS, "{statuses:?}");
    let series = of(&app).await;
    let refused = |policy: &str| {
        let name = format!("http_server_limited_requests_total{{policy=\"{policy}\"}}");
        series[&name].to_string()
    };
    assert_eq!(refused("token-by-address"), "1");
    assert_eq!(refused("log-in-by-address"), "0");
    assert_eq!(series["db_client_connections_max"].to_string(), "3");
}
