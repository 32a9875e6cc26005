-- What its owner tells one session from another by, and what finds the ones that go on or are over.

ALTER TABLE sessions
    -- The log-in, then the last refresh.
    ADD COLUMN last_used_at timestamptz NOT NULL DEFAULT now(),
    -- The `User-Agent` of that request, or its beginning.
    ADD COLUMN user_agent   text        NOT NULL DEFAULT '',
    ADD CONSTRAINT sessions_user_agent_length CHECK (char_length(user_agent) <= 256);

-- For the list of an account and for ending all of them; few at a time are not revoked.
CREATE INDEX sessions_not_revoked ON sessions (account_id, id) WHERE revoked_at IS NULL;
-- For the purge of those that were ended. Those that nobody came back to have nothing but refresh
-- tokens that expired, and are found by these.
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
