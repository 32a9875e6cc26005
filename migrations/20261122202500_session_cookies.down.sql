-- Whoever signed in to pages has to sign in again. Their sessions have nothing left that opens them.
DELETE FROM sessions WHERE id IN (SELECT session_id FROM session_cookies);
DROP TABLE session_cookies;
