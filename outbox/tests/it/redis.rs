//! What a test sees of Redis, in a namespace of its own.

use std::time::Duration;

use queue::redis::{AsyncCommands as _, aio::MultiplexedConnection};
use queue::testing::Namespace;
use queue::{Counts, Envelope, JobId, Queue, Settings};

/// The test's own corner of Redis; it must [`end`](Self::end), which looks for leaks.
pub(crate) struct Redis {
    pub(crate) queue: Queue,
    pub(crate) settings: Settings,
    conn: MultiplexedConnection,
    namespace: Namespace,
}

impl Redis {
    pub(crate) async fn new() -> Self {
        Self::over(queue::testing::settings()).await
    }

    /// With a limit for a queue's unfinished jobs.
    pub(crate) async fn limited(queue: &str, limit: u64) -> Self {
        let mut settings = queue::testing::settings();
        settings.limits.insert(queue.to_owned(), limit);
        Self::over(settings).await
    }

    async fn over(settings: Settings) -> Self {
        let client = queue::redis::Client::open(settings.redis.clone()).unwrap();
        Self {
            queue: Queue::connect(settings.clone()).await.unwrap(),
            conn: client.get_multiplexed_async_connection().await.unwrap(),
            namespace: Namespace::new(settings.clone()),
            settings,
        }
    }

    /// Checks that this many jobs are left, ready and delayed, and nothing else.
    pub(crate) async fn end(self, ready: u64, delayed: u64) {
        let left = Counts {
            ready,
            delayed,
            ..Counts::default()
        };
        self.namespace.end_leaving(left).await;
    }

    fn key(&self, name: &str) -> String {
        format!("{{{}:default}}:{name}", self.settings.namespace)
    }

    /// The jobs that are ready, oldest first.
    pub(crate) async fn ready(&self) -> Vec<Envelope> {
        let entries: queue::redis::streams::StreamRangeReply =
            self.conn.clone().xrange_all(self.key("s:0")).await.unwrap();
        let envelope = |entry: &queue::redis::streams::StreamId| {
            Envelope::decode(&entry.get::<Vec<u8>>("e").unwrap()).unwrap()
        };
        entries.ids.iter().map(envelope).collect()
    }

    /// The ids of another queue's jobs that are ready, oldest first.
    pub(crate) async fn ids_in(&self, queue: &str) -> Vec<JobId> {
        let key = format!("{{{}:{queue}}}:s:0", self.settings.namespace);
        let entries: queue::redis::streams::StreamRangeReply =
            self.conn.clone().xrange_all(key).await.unwrap();
        let id = |entry: &queue::redis::streams::StreamId| {
            Envelope::decode(&entry.get::<Vec<u8>>("e").unwrap())
                .unwrap()
                .id
        };
        entries.ids.iter().map(id).collect()
    }

    /// How many jobs wait for their time.
    pub(crate) async fn delayed(&self) -> usize {
        self.conn.clone().zcard(self.key("delayed")).await.unwrap()
    }

    /// How long it will be known that this job was relayed.
    pub(crate) async fn remembered(&self, id: JobId) -> Duration {
        let marker = self.key(&format!("once:{id}"));
        let left: u64 = self.conn.clone().pttl(marker).await.unwrap();
        Duration::from_millis(left)
    }

    /// How many jobs of another queue are ready.
    pub(crate) async fn ready_in(&self, queue: &str) -> usize {
        let key = format!("{{{}:{queue}}}:s:0", self.settings.namespace);
        self.conn.clone().xlen(key).await.unwrap()
    }

    /// Does the oldest of the jobs that are ready in another queue.
    pub(crate) async fn finish_in(&self, queue: &str, jobs: usize) {
        let key = format!("{{{}:{queue}}}:s:0", self.settings.namespace);
        let mut conn = self.conn.clone();
        let oldest: queue::redis::streams::StreamRangeReply =
            conn.xrange_count(&key, "-", "+", jobs).await.unwrap();
        let ids: Vec<_> = oldest.ids.iter().map(|entry| &entry.id).collect();
        assert_eq!(conn.xdel::<_, _, usize>(&key, &ids).await.unwrap(), jobs);
    }

    /// Makes Redis refuse jobs of this queue.
    pub(crate) async fn spoil(&self, queue: &str) {
        let key = format!("{{{}:{queue}}}:s:0", self.settings.namespace);
        let () = self.conn.clone().set(key, "no stream").await.unwrap();
    }

    /// Ends what [`spoil`](Self::spoil) did.
    pub(crate) async fn mend(&self, queue: &str) {
        let key = format!("{{{}:{queue}}}:s:0", self.settings.namespace);
        let _: usize = self.conn.clone().del(key).await.unwrap();
    }

    /// Loses everything, as a restart without data would. Other tests' keys stay.
    pub(crate) async fn lose_everything(&self) {
        let mut conn = self.conn.clone();
        // In the pattern of KEYS a brace is a plain character.
        let keys: Vec<String> = conn
            .keys(format!("{{{}:*", self.settings.namespace))
            .await
            .unwrap();
        if !keys.is_empty() {
            let _: usize = conn.del(keys).await.unwrap();
        }
    }
}
