//! What the relay and the sweeper ask has its index: neither reads a long outbox from end to end.

use std::time::Duration;

use migrations::testing::database;
use outbox::{Relay, Settings};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::enqueue;
use super::redis::Redis;

/// 100,000 jobs that were sent, of which a hundred are late, and as many that are done, of which a
/// hundred are old.
const ROWS: &str = "
    INSERT INTO job_outbox (id, queue, envelope, once, state, sent_at)
      SELECT md5(n::text)::uuid, 'default', '', true, 1,
             now() - n * interval '1 millisecond' - CASE WHEN n <= 100 THEN interval '1 day'
                                                         ELSE interval '0' END
      FROM generate_series(1, 100000) AS n;
    INSERT INTO job_done (id, done_at)
      SELECT md5(n::text)::uuid, now() - CASE WHEN n <= 100 THEN interval '99 days'
                                              ELSE interval '0' END
      FROM generate_series(1, 100000) AS n;";

/// How often a plan has begun to read a whole table of the outbox.
async fn scans(pool: &PgPool) -> i64 {
    sqlx::query("SELECT pg_stat_force_next_flush()")
        .execute(pool)
        .await
        .unwrap();
    let scans = "SELECT sum(seq_scan)::int8 FROM pg_stat_user_tables WHERE relname LIKE 'job\\_%'";
    sqlx::query_scalar(scans).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn a_long_outbox_is_read_by_its_indexes() {
    let (database, redis) = (database().await, Redis::new().await);
    sqlx::raw_sql(ROWS).execute(&database.pool).await.unwrap();
    enqueue(&database.pool, 0..40).await;
    sqlx::raw_sql("ANALYZE")
        .execute(&database.pool)
        .await
        .unwrap();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let options = database.options.clone();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(options.options([("plan_cache_mode", mode)]));
        let settings = Settings {
            batch: 10,
            resend_after: Duration::from_secs(3600),
            ..Settings::default()
        };
        let relay = Relay::with_settings(pool.clone(), redis.queue.clone(), settings);
        let none = scans(&pool).await;
        // What counts at all: a query that no index is for.
        sqlx::query("SELECT FROM job_outbox WHERE resends = 7")
            .execute(&pool)
            .await
            .unwrap();
        let before = scans(&pool).await;
        assert_eq!(before, none + 1);
        assert_eq!(relay.relay_batch().await.unwrap(), 10);
        assert_eq!(scans(&pool).await, before, "{mode}: the relay");
        assert_eq!(relay.sweep().await.unwrap(), 10);
        assert_eq!(scans(&pool).await, before, "{mode}: the sweep");
        assert_eq!(relay.purge().await.unwrap(), 10);
        assert_eq!(scans(&pool).await, before, "{mode}: the purge");
        // What it sets waiting has no envelope to send.
        sqlx::query("DELETE FROM job_outbox WHERE state = 0 AND envelope = ''")
            .execute(&database.pool)
            .await
            .unwrap();
        pool.close().await;
    }
    redis.end(20, 0).await;
}
