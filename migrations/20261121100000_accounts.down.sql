-- Deletes every account.
DROP TABLE verification_tokens;
DROP TABLE sign_ups;
DROP TABLE accounts;
