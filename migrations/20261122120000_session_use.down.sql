-- Forgets when and from where sessions were used.
DROP INDEX sessions_revoked_at;
DROP INDEX sessions_not_revoked;
ALTER TABLE sessions
    DROP COLUMN user_agent,
    DROP COLUMN last_used_at;
