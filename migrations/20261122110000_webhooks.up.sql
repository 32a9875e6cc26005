-- Webhooks: who wants to be told, what has happened, and what came of telling.
--
-- An event and its deliveries are written in one transaction together with the jobs that deliver
-- them. The ids are UUIDs of version 7, so "newest first" is a walk backwards through an index.

CREATE TABLE webhook_endpoints (
    id                uuid        PRIMARY KEY,
    account_id        uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    url               text        NOT NULL,
    description       text        NOT NULL DEFAULT '',
    -- The types of events it is told of; empty for all.
    event_types       text[]      NOT NULL DEFAULT '{}',
    -- A signing secret is derived from one of the service's keys and a salt, and only these are
    -- here: who reads the table can sign nothing.
    secret_key_id     text        NOT NULL,
    secret_salt       bytea       NOT NULL,
    -- The one before it, which signs as well until the owner's receivers know the new one.
    old_secret_key_id text,
    old_secret_salt   bytea,
    old_secret_until  timestamptz,
    disabled_at       timestamptz,
    disabled_reason   text,
    -- Since when every attempt has failed; empty after one that succeeded.
    failing_since     timestamptz,
    -- Grows with each change that its owner can see: the ETag.
    version           bigint      NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT webhook_endpoints_url_length CHECK (char_length(url) BETWEEN 8 AND 2048),
    CONSTRAINT webhook_endpoints_description_length CHECK (char_length(description) <= 256),
    CONSTRAINT webhook_endpoints_event_types_few CHECK (cardinality(event_types) <= 64),
    CONSTRAINT webhook_endpoints_salt_length CHECK (octet_length(secret_salt) = 32),
    CONSTRAINT webhook_endpoints_old_secret_whole CHECK (
        num_nulls(old_secret_key_id, old_secret_salt, old_secret_until) IN (0, 3)
    ),
    CONSTRAINT webhook_endpoints_disabled_has_reason
        CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CONSTRAINT webhook_endpoints_reason_known
        CHECK (disabled_reason IN ('owner', 'gone', 'failing'))
);

-- For the cascade above, for the list of an account, and for "who wants this event".
CREATE INDEX webhook_endpoints_account_id ON webhook_endpoints (account_id, id);

CREATE TABLE events (
    -- Also the `webhook-id` of every delivery: what a receiver tells doubles by.
    id         uuid        PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    type       text        NOT NULL,
    -- As it was sent, to the last digit: json and not jsonb.
    data       json        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT events_type_form
        CHECK (type ~ '^[a-z0-9_]+(\.[a-z0-9_]+)*$' AND char_length(type) <= 128)
);

-- For the cascade above and for the list of an account, of all types and of one.
CREATE INDEX events_account_id ON events (account_id, id);
CREATE INDEX events_account_id_type ON events (account_id, type, id);

CREATE TABLE webhook_deliveries (
    id              uuid        PRIMARY KEY,
    event_id        uuid        NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    endpoint_id     uuid        NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    state           text        NOT NULL DEFAULT 'pending',
    attempts        integer     NOT NULL DEFAULT 0,
    -- Of the last attempt. There is no status where there was no answer; then `error` says why.
    attempted_at    timestamptz,
    duration_ms     integer,
    response_status smallint,
    -- Its beginning, as text: what is not UTF-8 is replaced.
    response_body   text,
    error           text,
    -- About when the next attempt is made, while it is pending: one that is two days late has lost
    -- its job.
    next_attempt_at timestamptz          DEFAULT now(),
    created_at      timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT webhook_deliveries_state_known CHECK (state IN ('pending', 'delivered', 'failed')),
    CONSTRAINT webhook_deliveries_body_length CHECK (octet_length(response_body) <= 16384),
    -- An event is delivered to an endpoint once, however often it is tried or replayed.
    CONSTRAINT webhook_deliveries_event_endpoint UNIQUE (event_id, endpoint_id)
)
-- Each row is updated at least once; the room lets an attempt that leaves the state as it is happen
-- in its page, without the indexes.
WITH (fillfactor = 80);

-- For the cascade above and for the list of an endpoint, of all states and of one, which is also
-- how the failed ones are replayed.
CREATE INDEX webhook_deliveries_endpoint_id ON webhook_deliveries (endpoint_id, id);
CREATE INDEX webhook_deliveries_endpoint_id_state ON webhook_deliveries (endpoint_id, state, id);
-- For the purge, which looks for those whose job is gone. What is pending is little, so this is.
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (id) WHERE state = 'pending';

-- What requests with an `Idempotency-Key` have led to.
CREATE TABLE idempotency_keys (
    account_id   uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    key          text        NOT NULL,
    -- SHA-256 of the request: method, path and body.
    request_hash bytea       NOT NULL,
    -- The answer is made again from these, the request itself, and the time below, which is the
    -- event's too: both are of one transaction.
    event_id     uuid        NOT NULL,
    deliveries   integer     NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),

    PRIMARY KEY (account_id, key),
    CONSTRAINT idempotency_keys_length CHECK (char_length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_hash_length CHECK (octet_length(request_hash) = 32)
);

-- For the purge.
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
