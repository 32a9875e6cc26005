-- Sessions: one per log-in. Its refresh tokens form a family.
--
-- A refresh token is used once and replaced by the next of its session. One that comes a second
-- time was stolen (or its thief was faster), so the whole family ends: `revoked_at` on the session.

CREATE TABLE sessions (
    id         uuid        PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

-- For the cascade above and for "end all sessions of this account".
CREATE INDEX sessions_account_id ON sessions (account_id);

CREATE TABLE refresh_tokens (
    -- SHA-256 of the token. Only the client holds the token itself.
    token_hash bytea       PRIMARY KEY,
    session_id uuid        NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,

    CONSTRAINT refresh_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT refresh_tokens_expire_later CHECK (expires_at > created_at)
);

CREATE INDEX refresh_tokens_session_id ON refresh_tokens (session_id);
-- For the purge of expired tokens.
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);
-- A family has one token that may still be used.
CREATE UNIQUE INDEX refresh_tokens_one_unused ON refresh_tokens (session_id) WHERE used_at IS NULL;
