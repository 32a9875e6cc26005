-- Accounts, the sign-ups for them, and the tokens that prove an e-mail address.
--
-- How migrations are written here:
--   * One change per pair of files. `up` makes it, `down` undoes it; both are run by the tests.
--   * A file that has been applied anywhere is never edited: write the next one.
--   * The file runs in one transaction, so it applies wholly or not at all. It starts with the
--     line `-- no-transaction` only for what Postgres refuses there (CREATE INDEX CONCURRENTLY),
--     and then holds that one statement.
--   * No role is named. What the services may do with a new table follows from the default
--     privileges that were set when the database was made.
--   * The release before this one still runs while it is applied: add first, remove one release later.

CREATE TABLE accounts (
    -- UUID version 7: made by the service, grows with time, so that the index stays compact.
    id            uuid        PRIMARY KEY,
    -- As its owner typed it, for mails and for show.
    email         text        NOT NULL,
    -- The same address in lower case: what makes an account unique.
    email_key     text        NOT NULL,
    -- A PHC string ($argon2id$...): it carries its own parameters and salt. Empty until the address
    -- is verified: a password that was typed by nobody knows whom opens nothing.
    password_hash text,
    role          text        NOT NULL DEFAULT 'member',
    -- Empty until the owner has followed the link in the mail.
    verified_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT accounts_email_key_unique UNIQUE (email_key),
    CONSTRAINT accounts_email_length CHECK (char_length(email) BETWEEN 3 AND 254),
    CONSTRAINT accounts_email_key_of_email CHECK (email_key = lower(email COLLATE "C")),
    CONSTRAINT accounts_password_is_hashed CHECK (password_hash LIKE '$argon2id$%'),
    CONSTRAINT accounts_password_once_verified
        CHECK ((password_hash IS NULL) = (verified_at IS NULL)),
    CONSTRAINT accounts_role_known CHECK (role IN ('member', 'admin'))
);

-- Each attempt to sign up with an address that is not verified. Anybody can make one, so it keeps
-- its password to itself until its own link is followed: the other sign-ups are deleted then.
CREATE TABLE sign_ups (
    id            uuid        PRIMARY KEY,
    account_id    uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- Moves to the account when the link is followed.
    password_hash text,
    created_at    timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT sign_ups_password_is_hashed CHECK (password_hash LIKE '$argon2id$%')
);

-- For the cascade above and for "the other sign-ups of this account".
CREATE INDEX sign_ups_account_id ON sign_ups (account_id);

CREATE TABLE verification_tokens (
    -- SHA-256 of the token. The token itself is only ever in the mail.
    token_hash bytea       PRIMARY KEY,
    -- Whose password the token makes the account's.
    sign_up_id uuid        NOT NULL REFERENCES sign_ups (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    -- Set once. The row stays for a while, so that a second click can be told "used" from "unknown".
    used_at    timestamptz,

    CONSTRAINT verification_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT verification_tokens_expire_later CHECK (expires_at > created_at)
);

-- For the cascade above and for "all tokens of this sign-up".
CREATE INDEX verification_tokens_sign_up_id ON verification_tokens (sign_up_id);
-- For the purge of expired tokens.
CREATE INDEX verification_tokens_expires_at ON verification_tokens (expires_at);
