-- {Things}: each belongs to an account, and goes with it.
--
-- The release before this one still runs while this is applied. A new table is nothing to it; what
-- you change here later is a file of its own (`cargo xtask migrate new NAME`), because a file that
-- has been applied anywhere is never edited.

CREATE TABLE widgets (
    -- UUID version 7: made by the service, grows with time, so that the index stays compact.
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    --# each
    FIELD SQL_TYPE NOT NULL,
    --# end
    -- Grows with each change that its owner can see: the ETag.
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    --# if text

    --# end
    --# each text
    CONSTRAINT widgets_FIELD_length CHECK (char_length(FIELD) <= 256),
    --# end
);

-- For the cascade above and for the list of an account.
CREATE INDEX widgets_account_id ON widgets (account_id, id);
