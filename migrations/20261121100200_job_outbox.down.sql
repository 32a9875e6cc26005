-- Deletes every job that is not yet done.
DROP TABLE job_outbox;
