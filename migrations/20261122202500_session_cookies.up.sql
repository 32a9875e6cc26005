-- Sessions of people in a browser: a cookie stands for one, where a program has refresh tokens.

CREATE TABLE session_cookies (
    -- SHA-256 of the cookie's token. Only the browser holds the token itself.
    token_hash bytea       PRIMARY KEY,
    -- A row of `sessions` like any other: it is listed and ended with those of programs.
    session_id uuid        NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Moves on while the pages are used, and never past the longest time of such a session.
    expires_at timestamptz NOT NULL,

    CONSTRAINT session_cookies_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT session_cookies_expire_later CHECK (expires_at > created_at),
    -- Its index is also for the cascade above.
    CONSTRAINT session_cookies_session_id_unique UNIQUE (session_id)
);

-- For the purge of those that are over.
CREATE INDEX session_cookies_expires_at ON session_cookies (expires_at);
