//! A thousand events over HTTP and two endpoints, while workers and Redis are killed and Redis loses
//! its data: nothing is lost, and what comes twice is what no worker lived to note.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::{Api, Connections, Drain};
use axum::http::{HeaderMap, StatusCode};
use axum::{Router, extract::State, routing::post};
use domain::webhooks::{NewEndpoint, Target, Targets, create_endpoint};
use migrations::testing::{TestDatabase, database};
use serde_json::Value;
use service::settings::Reader;
use service::shutdown::Shutdown;
use sqlx::PgPool;
use standardwebhooks::Webhook;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{KEY, keys};
use crate::process::{Process, Running};

const EVENTS: usize = 1000;

/// So many events may be on their way, or all would be accepted before the first kill.
const AHEAD: usize = 100;

/// How long a receiver thinks.
const THOUGHT: Duration = Duration::from_millis(30);

/// The longest between an answer and its note, for a worker that is not killed in between.
const NOTED: Duration = Duration::from_secs(2);

/// Jobs of the queue that one worker has in hand at once, as `jobs::queues` has it.
const IN_HAND: usize = 12;

/// One request, as its receiver saw it.
#[derive(Clone, Copy)]
struct Copy {
    arrived: Instant,
    /// None where the caller was gone first.
    answered: Option<Instant>,
    taken: bool,
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<HashMap<String, Vec<Copy>>>>);

/// A receiver that is busy the first time it hears of some events, and keeps what it saw.
async fn receiver(seen: Seen, secret: Arc<Mutex<String>>) -> String {
    let handler = async |State((seen, secret)): State<(Seen, Arc<Mutex<String>>)>,
                         headers: HeaderMap,
                         body: String| {
        let webhook = Webhook::new(&secret.lock().unwrap()).unwrap();
        webhook.verify(body.as_bytes(), &headers).unwrap();
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        let arrived = Instant::now();
        let (at, taken) = {
            let mut seen = seen.0.lock().unwrap();
            let copies = seen.entry(id.clone()).or_default();
            let taken = !copies.is_empty() || !id.ends_with("00");
            let answered = None;
            copies.push(Copy {
                arrived,
                answered,
                taken,
            });
            (copies.len() - 1, taken)
        };
        tokio::time::sleep(THOUGHT).await;
        // A caller that went away has ended this handler.
        seen.0.lock().unwrap().get_mut(&id).unwrap()[at].answered = Some(Instant::now());
        if taken {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let routes = Router::new().route("/", post(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = routes.with_state((seen, secret));
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}

impl Seen {
    /// Every event's copies.
    fn copies(&self) -> HashMap<String, Vec<Copy>> {
        self.0.lock().unwrap().clone()
    }

    fn events(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A Redis that keeps its data in a folder, as ours does.
struct Redis {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Redis {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let child = Self::spawn(&folder, port);
        Self {
            folder,
            port,
            child,
        }
    }

    fn spawn(folder: &tempfile::TempDir, port: u16) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "yes"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is not in PATH: run the tests with `cargo xtask test`")
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = Self::spawn(&self.folder, self.port);
    }

    async fn lose_everything(&self) {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let client = queue::redis::Client::open(url).unwrap();
        let mut conn = client.get_multiplexed_async_connection().await.unwrap();
        let flush = queue::redis::cmd("FLUSHALL");
        flush.query_async::<()>(&mut conn).await.unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The API with this Redis, on a port of its own, and an access token of this account.
async fn serve(database: &TestDatabase, redis: u16, account: Uuid) -> (SocketAddr, String) {
    let settings = [
        ("JWT_SECRET", "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T"),
        ("WEBHOOK_SECRET", KEY),
        ("DATABASE_PASSWORD", "k3Vx8aPq0ZtR5mWy"),
        ("REDIS_PASSWORD", "Zp7Lw2Qx9Rt4Yb6N"),
    ];
    let settings = api::settings::Settings::read(Reader::from_pairs(settings)).unwrap();
    let mut queue = queue::testing::settings();
    queue.redis = format!("redis://127.0.0.1:{redis}").parse().unwrap();
    let queue = queue::Queue::connect(queue).await.unwrap();
    let draining = CancellationToken::new();
    let app = api::App::new(database.pool.clone(), queue, &settings, draining);
    let token = app.tokens.issue(account, Uuid::now_v7()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let drain = Drain {
        lead: Duration::ZERO,
        request_timeout: settings.http.request_timeout,
    };
    tokio::spawn(api::serve(
        listener,
        Api::new(app),
        Connections::at_most(settings.http.connections),
        Shutdown::default(),
        drain,
    ));
    (addr, token)
}

/// Sends the events, as a client that is careful with them does: one that was not accepted, or whose
/// answer was lost, is sent again with its key.
fn send(api: SocketAddr, token: &str, seen: &Seen) -> Vec<String> {
    let send = |number: usize| {
        let body = format!(r#"{{"type":"number.counted","data":{{"number":{number}}}}}"#);
        let request = minreq::post(format!("http://{api}/v1/events"))
            .with_header("authorization", format!("Bearer {token}"))
            .with_header("content-type", "application/json")
            .with_header("idempotency-key", number.to_string());
        request.with_body(body).with_timeout(30).send()
    };
    // Redis is away for seconds, and its worker's jobs for a sweep, which may be half a minute away.
    let end = Instant::now() + Duration::from_secs(240);
    let accepted = |number: usize| {
        loop {
            assert!(Instant::now() < end, "event {number} is not accepted");
            match send(number) {
                Ok(answer) if answer.status_code == 202 => break answer,
                Ok(answer) if answer.status_code != 503 => panic!("{answer:?}"),
                // Redis is away.
                Ok(_) | Err(_) => std::thread::park_timeout(Duration::from_millis(50)),
            }
        }
    };
    let ids = (0..EVENTS).map(|number| {
        while number > seen.events() + AHEAD {
            assert!(Instant::now() < end, "event {number} waits for others");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let answer: Value = serde_json::from_slice(accepted(number).as_bytes()).unwrap();
        assert_eq!(answer["deliveries"], 2);
        answer["id"].as_str().unwrap().to_owned()
    });
    ids.collect()
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// Waits long enough for a sweep, which may be half a minute away.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let patience = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(240), patience).await;
    done.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The stage: where everything is, and when workers died.
struct Stage {
    database: TestDatabase,
    redis: Redis,
    process: Process,
    worker: Option<Running>,
    receivers: [Seen; 2],
    /// From before the kill until the process was gone.
    kills: Vec<(Instant, Instant)>,
}

impl Stage {
    /// Waits until each receiver has heard of so many events.
    async fn heard(&self, events: usize) {
        until(&format!("{events} events heard of"), async || {
            self.receivers.iter().all(|seen| seen.events() >= events)
        })
        .await;
    }

    fn kill_worker(&mut self) {
        let before = Instant::now();
        self.worker.take().unwrap().kill();
        self.kills.push((before, Instant::now()));
    }

    fn start_worker(&mut self) {
        self.worker = Some(self.process.run());
    }

    /// As if the time had passed that a job has to end by itself.
    async fn let_time_pass(&self) {
        // What is on its way when Redis is emptied, ends; after ten minutes it has.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let past = "UPDATE job_outbox SET sent_at = sent_at - interval '11 minutes',
                                          run_at = run_at - interval '11 minutes'
                    WHERE state = 1";
        sqlx::query(past)
            .execute(&self.database.pool)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_survive_killed_workers_and_a_redis_that_loses_everything() {
    let database = database().await;
    let mail = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let mut process = Process::new(&database, mail.path());
    process.set("REDIS_HOST", &"127.0.0.1");
    process.set("REDIS_PORT", &redis.port);
    process.set("REDIS_USER", &"default");
    // As in production: a Redis that starts again for seconds takes no job from its worker.
    process.set("QUEUE_LEASE_SECONDS", &6);
    process.set("WEBHOOK_SECRET", &KEY);
    process.set("WEBHOOK_ALLOW_PRIVATE", &true);

    let account = sqlx::query_scalar(
        "INSERT INTO accounts (id, email, email_key, password_hash, verified_at)
         VALUES ($1, 'ada@example.com', 'ada@example.com', '$argon2id$', now()) RETURNING id",
    );
    let account: Uuid = account
        .bind(Uuid::now_v7())
        .fetch_one(&database.pool)
        .await
        .unwrap();
    let receivers = [Seen::default(), Seen::default()];
    for seen in &receivers {
        let secret = Arc::<Mutex<String>>::default();
        let url = receiver(seen.clone(), Arc::clone(&secret)).await;
        let new = NewEndpoint {
            url: &Target::parse(&url, Targets::Any).unwrap(),
            description: "",
            event_types: &[],
        };
        let made = create_endpoint(&database.pool, &keys(), account, new).await;
        *secret.lock().unwrap() = made.unwrap().1.expose();
    }

    let (api, token) = serve(&database, redis.port, account).await;
    let seen = receivers[0].clone();
    let sending = tokio::task::spawn_blocking(move || send(api, &token, &seen));
    let mut stage = Stage {
        database,
        redis,
        process,
        worker: None,
        receivers,
        kills: Vec::new(),
    };
    stage.start_worker();
    for events in [100, 200] {
        stage.heard(events).await;
        stage.kill_worker();
        stage.start_worker();
    }
    stage.heard(300).await;
    stage.redis.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.redis.start_again();
    stage.heard(450).await;
    stage.redis.lose_everything().await;
    stage.let_time_pass().await;
    stage.heard(600).await;
    stage.kill_worker();
    stage.redis.kill();
    stage.redis.start_again();
    stage.start_worker();
    stage.heard(800).await;
    stage.kill_worker();
    stage.start_worker();

    let accepted = sending.await.unwrap();
    let pool = stage.database.pool.clone();
    until("every job done", async || {
        count(&pool, "SELECT count(*) FROM job_outbox").await == 0
    })
    .await;
    let delivered = "SELECT count(*) FROM webhook_deliveries WHERE state = 'delivered'";
    assert_eq!(count(&pool, delivered).await, 2 * 1000);
    let mut doubles = 0;
    for seen in &stage.receivers {
        let copies = seen.copies();
        assert_eq!(copies.len(), EVENTS);
        for id in &accepted {
            let mut taken: Vec<&Copy> = copies[id].iter().filter(|copy| copy.taken).collect();
            taken.pop().unwrap();
            doubles += taken.len();
            for copy in taken {
                assert!(was_lost(copy, &stage.kills), "{id} came again without need");
            }
        }
    }
    assert!(doubles <= IN_HAND * stage.kills.len(), "{doubles} doubles");
    let (status, log) = stage.worker.take().unwrap().terminate().await;
    assert!(status.success(), "{log}");
}

/// Whether the worker was killed before it can have noted this answer.
fn was_lost(copy: &Copy, kills: &[(Instant, Instant)]) -> bool {
    kills.iter().any(|(before, gone)| {
        let noted_by = copy.answered.map(|answered| answered + NOTED);
        copy.arrived <= *gone && noted_by.is_none_or(|by| by >= *before)
    })
}
