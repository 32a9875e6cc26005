//! A database and a namespace of the benchmark's own, and what it sees of them.

use std::collections::HashMap;
use std::str::FromStr as _;

use queue::redis::aio::MultiplexedConnection;
use queue::redis::streams::StreamRangeReply;
use queue::redis::{self, AsyncCommands as _, IntoConnectionInfo as _};
use queue::{Envelope, JobId, Queue, Settings};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool};

use crate::Options;

/// As many connections as the services have by default.
const POOL: u32 = 10;

pub(crate) struct Servers {
    pub(crate) pool: PgPool,
    pub(crate) queue: Queue,
    settings: Settings,
    redis: MultiplexedConnection,
    server: PgConnection,
    name: String,
}

impl Servers {
    pub(crate) async fn new(options: &Options) -> Self {
        let name = format!("outbox_bench_{}", std::process::id());
        let postgres = PgConnectOptions::from_str(&options.database).unwrap();
        let mut server = postgres.connect().await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut server)
            .await
            .unwrap();
        // As the services have it: no ping before each use.
        let pool = PgPoolOptions::new()
            .max_connections(POOL)
            .test_before_acquire(false)
            .connect_lazy_with(postgres.database(&name));
        migrations::MIGRATOR.run(&pool).await.unwrap();

        let redis = options.redis.as_str().into_connection_info().unwrap();
        let settings = Settings::new(redis, format!("bench-{}", uuid::Uuid::new_v4().simple()));
        let client = redis::Client::open(settings.redis.clone()).unwrap();
        Self {
            pool,
            queue: Queue::connect(settings.clone()).await.unwrap(),
            redis: client.get_multiplexed_async_connection().await.unwrap(),
            settings,
            server,
            name,
        }
    }

    /// Whether rows wait for the relay; as cheap as the relay's own look.
    pub(crate) async fn any_waiting(&self) -> bool {
        let first = "SELECT id FROM job_outbox WHERE state = 0 ORDER BY id LIMIT 1";
        let row = sqlx::query(first).fetch_optional(&self.pool).await.unwrap();
        row.is_some()
    }

    /// How often each job is in Redis.
    pub(crate) async fn relayed(&self) -> HashMap<JobId, u32> {
        let key = format!("{{{}:default}}:s:0", self.settings.namespace);
        let mut times = HashMap::new();
        let mut from = "-".to_owned();
        loop {
            let page: StreamRangeReply = self
                .redis
                .clone()
                .xrange_count(&key, from, "+", 1000)
                .await
                .unwrap();
            let Some(last) = page.ids.last() else {
                return times;
            };
            from = format!("({}", last.id);
            for entry in &page.ids {
                let envelope = Envelope::decode(&entry.get::<Vec<u8>>("e").unwrap()).unwrap();
                *times.entry(envelope.id).or_default() += 1;
            }
        }
    }

    /// What Redis has spent so far, on others too: commands, and microseconds of its processor.
    pub(crate) async fn spent(&self) -> (f64, f64) {
        let info: String = redis::cmd("INFO")
            .arg("everything")
            .query_async(&mut self.redis.clone())
            .await
            .unwrap();
        let field = |name: &str| -> f64 {
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap().trim().parse().unwrap()
        };
        let cpu = field("used_cpu_user") + field("used_cpu_sys");
        (field("total_commands_processed"), cpu * 1e6)
    }

    pub(crate) async fn remove(mut self, jobs: &[JobId]) {
        let tag = format!("{{{}:default}}", self.settings.namespace);
        let markers = jobs.iter().map(|id| format!("{tag}:once:{id}"));
        let keys: Vec<String> = markers.chain([format!("{tag}:s:0")]).collect();
        for some in keys.chunks(1000) {
            let _: usize = self.redis.unlink(some).await.unwrap();
        }
        self.pool.close().await;
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {}", self.name)))
            .execute(&mut self.server)
            .await
            .unwrap();
    }
}
