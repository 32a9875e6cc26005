//! The service under test: the whole router in this process, with a database of its own.

use std::sync::{Arc, Mutex};

use api::{Api, App, settings::Settings};
use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header, request},
};
use domain::jobs::SendEmail;
use migrations::testing::{TestDatabase, database};
use queue::{Queue, testing::Waiting};
use secrecy::SecretString;
use serde_json::{Value, json};
use service::{database::Returns, metrics::Metrics, settings::Reader};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber, set_default},
};
use uuid::Uuid;

/// A password that is good enough.
pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct TestApp {
    pub(crate) database: TestDatabase,
    /// Of everything that it keeps in Redis.
    pub(crate) namespace: String,
    pub(crate) draining: CancellationToken,
    pub(crate) api: Api,
    pub(crate) metrics: Metrics,
}

/// What came back, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Settings with everything at its default but the limits of a client, of which a test has only
/// one; tests connect by themselves.
pub(crate) fn settings() -> Settings {
    let settings = [
        ("API_LIMITS", "all=1000000/1"),
        ("JWT_SECRET", "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T"),
        ("WEBHOOK_SECRET", "hT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e"),
        ("DATABASE_PASSWORD", "k3Vx8aPq0ZtR5mWy"),
        ("REDIS_PASSWORD", "Zp7Lw2Qx9Rt4Yb6N"),
    ];
    Settings::read(Reader::from_pairs(settings)).unwrap()
}

/// How the service connects to a test's database, by `port` instead of the server's own.
pub(crate) fn pool(database: &TestDatabase, port: u16) -> PgPool {
    let settings = service::settings::Database {
        host: database.options.get_host().to_owned(),
        port,
        name: database.name().to_owned(),
        user: database.options.get_username().to_owned(),
        password: SecretString::from("not asked for by the test server"),
        pool_size: 3,
    };
    service::database::pool(&settings, Returns::Trusted)
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With settings that `change` has changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let database = database().await;
        let pool = pool(&database, database.options.get_port());
        Self::over(database, pool, queue::testing::settings(), &settings).await
    }

    pub(crate) async fn over(
        database: TestDatabase,
        pool: PgPool,
        redis: queue::Settings,
        settings: &Settings,
    ) -> Self {
        let draining = CancellationToken::new();
        let namespace = redis.namespace.clone();
        let queue = Queue::connect(redis).await.unwrap();
        let app = App::new(pool, queue, settings, draining.clone());
        let metrics = app.metrics.clone();
        let api = Api::new(app);
        Self {
            metrics,
            database,
            namespace,
            draining,
            api,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.api.answer(request).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = request(Method::POST, path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body.to_string().into()).unwrap())
            .await
    }

    pub(crate) async fn sign_up(&self, email: &str) -> Answer {
        let body = json!({ "email": email, "password": PASSWORD });
        self.post("/v1/accounts", &body).await
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password });
        self.post("/v1/sessions", &body).await
    }

    /// A token as the worker would put it into the mail.
    pub(crate) async fn verification_token(&self, email: &str) -> String {
        let pool = &self.database.pool;
        let newest = "SELECT sign_ups.id FROM sign_ups JOIN accounts ON accounts.id = account_id
                      WHERE email = $1 ORDER BY sign_ups.id DESC LIMIT 1";
        let id: Uuid = sqlx::query_scalar(newest)
            .bind(email)
            .fetch_one(pool)
            .await
            .unwrap();
        let issued = domain::accounts::issue_verification(pool, id)
            .await
            .unwrap();
        issued.unwrap().token.expose().to_owned()
    }

    /// An account that has signed up and proven its address.
    pub(crate) async fn verified(&self, email: &str) {
        self.sign_up(email).await.expect(StatusCode::ACCEPTED);
        let token = self.verification_token(email).await;
        let body = json!({ "token": token });
        let answer = self.post("/v1/accounts/verify", &body).await;
        answer.expect(StatusCode::NO_CONTENT);
    }

    /// A log-in that came through a proxy, from this address.
    pub(crate) async fn log_in_from(&self, address: &str, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password });
        let request = request(Method::POST, "/v1/sessions")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-forwarded-for", address);
        self.send(request.body(body.to_string().into()).unwrap())
            .await
    }

    /// The mails that wait in the outbox, oldest first.
    pub(crate) async fn mails(&self) -> Vec<Waiting<SendEmail>> {
        outbox::testing::enqueued(&self.database.pool).await
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        let value = value.unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn expect(&self, status: StatusCode) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Checks all that is the same for every error, and gives the document.
    #[track_caller]
    pub(crate) fn problem(&self, status: StatusCode) -> Value {
        self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document = self.json();
        assert_eq!(document["status"], status.as_u16());
        assert_eq!(document["request_id"], self.header("x-request-id"));
        for member in ["type", "title", "detail", "instance"] {
            let text = document[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{member} is missing: {document}");
        }
        document
    }
}

pub(crate) fn request(method: Method, path: &str) -> request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1:8000")
}

/// Keeps what is logged on this thread while it lives, from `level` up.
pub(crate) struct Log {
    buffer: Arc<Mutex<Vec<u8>>>,
    _while_it_lives: DefaultGuard,
    _beside_it: Dispatch,
}

impl Log {
    pub(crate) fn capture(level: tracing::Level) -> Self {
        // With a single subscriber in the process, `tracing` asks the thread that comes by a line
        // first whether anybody wants it: a test on another thread, which has none, says no for all.
        let beside_it = Dispatch::new(NoSubscriber::new());
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&buffer);
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(level)
            .with_writer(move || Writer(Arc::clone(&writer)))
            .finish();
        Self {
            buffer,
            _while_it_lives: set_default(subscriber),
            _beside_it: beside_it,
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.buffer.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
