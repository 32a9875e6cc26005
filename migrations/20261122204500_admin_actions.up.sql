-- What admins have done on their pages, for whoever asks later who it was.

CREATE TABLE admin_actions (
    -- UUID version 7: its order is the order of time, for the list and the purge.
    id         uuid        PRIMARY KEY,
    -- Who. No reference: the line outlives the account, and then names nobody.
    account_id uuid        NOT NULL,
    -- What, in a word: `retry`.
    action     text        NOT NULL,
    -- On what: the queue, if it was in one, and the id or the name of a job, a schedule, a session.
    queue      text,
    target     text,
    -- What its log lines have as `request.id`.
    request_id text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT admin_actions_action_form
        CHECK (action ~ '^[a-z]+(_[a-z]+)*$' AND char_length(action) <= 64)
);
