-- Deletes every account.
DROP TABLE verification_tokens;
DROP TABLE accounts;
