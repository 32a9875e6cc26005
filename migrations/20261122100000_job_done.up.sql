-- The jobs that are done, for those that are enqueued directly to Redis and have no row in
-- `job_outbox` that could be their token: a row is written together with the effects of a job,
-- and whoever finds it there has nothing to do.

CREATE TABLE job_done (
    -- The job's id, the same in Redis and in every log line.
    id      uuid        PRIMARY KEY,
    done_at timestamptz NOT NULL DEFAULT now()
)
-- Rows are only inserted, and deleted a month later, oldest first. Clean up after thousands of
-- them, not after a fifth of the table.
WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 50000);

-- For the purge, which takes the oldest. Its values only grow, so an insert touches its last page.
CREATE INDEX job_done_done_at ON job_done (done_at);
