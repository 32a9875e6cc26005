DROP TABLE email_change_tokens;
DROP TABLE email_changes;
DROP TABLE password_reset_tokens;
DROP INDEX accounts_admins;
ALTER TABLE accounts DROP COLUMN name, DROP COLUMN version;
