-- What an account's owner can change: the name, the password, the address.

ALTER TABLE accounts
    -- What its owner wants to be called; empty for nothing.
    ADD COLUMN name    text   NOT NULL DEFAULT '',
    -- Grows with each change that its owner can see: the ETag.
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD CONSTRAINT accounts_name_length CHECK (char_length(name) <= 100);

-- For "who is an admin" and "is there another": few among many.
CREATE INDEX accounts_admins ON accounts (id) WHERE role = 'admin';

CREATE TABLE password_reset_tokens (
    -- SHA-256 of the token. The token itself is only ever in the mail.
    token_hash bytea       PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    -- Set by its use, and by every other change of the password or the address.
    used_at    timestamptz,

    CONSTRAINT password_reset_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT password_reset_tokens_expire_later CHECK (expires_at > created_at)
);

-- For the cascade above and for "all tokens of this account".
CREATE INDEX password_reset_tokens_account_id ON password_reset_tokens (account_id);
-- For the purge of expired tokens.
CREATE INDEX password_reset_tokens_expires_at ON password_reset_tokens (expires_at);

-- An address that an account's owner wants to move to, and has yet to prove. Whether somebody else
-- has it is not asked before that, so that nobody learns it here.
CREATE TABLE email_changes (
    id           uuid        PRIMARY KEY,
    account_id   uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- The new address as it was typed.
    email        text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    -- Set once. The row stays for a while, so that a second click can be told "used" from "unknown".
    completed_at timestamptz,

    CONSTRAINT email_changes_email_length CHECK (char_length(email) BETWEEN 3 AND 254),
    CONSTRAINT email_changes_expire_later CHECK (expires_at > created_at)
);

-- For the cascade above.
CREATE INDEX email_changes_account_id ON email_changes (account_id);
-- The newest request takes the place of the one before.
CREATE UNIQUE INDEX email_changes_one_open ON email_changes (account_id)
    WHERE completed_at IS NULL;
-- For the purge.
CREATE INDEX email_changes_expires_at ON email_changes (expires_at);

-- They end with their request: each attempt to send its mail makes one.
CREATE TABLE email_change_tokens (
    -- SHA-256 of the token. The token itself is only ever in the mail.
    token_hash      bytea PRIMARY KEY,
    email_change_id uuid  NOT NULL REFERENCES email_changes (id) ON DELETE CASCADE,

    CONSTRAINT email_change_tokens_hash_length CHECK (octet_length(token_hash) = 32)
);

-- For the cascade above.
CREATE INDEX email_change_tokens_email_change_id ON email_change_tokens (email_change_id);
