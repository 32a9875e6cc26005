-- The outbox: jobs that were enqueued in a transaction, on their way to the queue in Redis.
--
-- A row is written together with the data it belongs to, so the job exists if and only if that
-- transaction commits. The relay copies it to Redis. For a once-job the row then stays as its
-- token: the job deletes it together with its effects, and whoever finds no row has nothing to do.

CREATE TABLE job_outbox (
    -- The job's id (UUID version 7), the same in Redis and in every log line.
    id       uuid     PRIMARY KEY,
    queue    text     NOT NULL,
    -- The encoded job. Only the queue reads it.
    envelope bytea    NOT NULL,
    -- Empty: as soon as possible.
    run_at   timestamptz,
    -- 0 waiting for the relay, 1 handed to Redis, 2 set aside (dead: neither sent again nor done).
    state    smallint NOT NULL DEFAULT 0,
    -- When it was last handed to Redis.
    sent_at  timestamptz,
    -- How often it was handed to Redis again because nobody had finished it.
    resends  smallint NOT NULL DEFAULT 0,
    -- A plain job's row is deleted when it is handed over; a once-job's row is its token.
    once     boolean  NOT NULL,

    CONSTRAINT job_outbox_state_known CHECK (state IN (0, 1, 2)),
    CONSTRAINT job_outbox_sent_has_time CHECK (state <> 1 OR sent_at IS NOT NULL),
    CONSTRAINT job_outbox_queue_named CHECK (queue <> '')
)
-- Rows live for a second: clean up after thousands of them, not after a fifth of the table.
WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000, fillfactor = 80);

-- The relay's index. It holds what waits and nothing else, however long the table is.
CREATE INDEX job_outbox_waiting ON job_outbox (id) WHERE state = 0;
-- The sweeper's index: what was handed over and is not yet done, oldest first.
CREATE INDEX job_outbox_sent ON job_outbox (sent_at) WHERE state = 1;
