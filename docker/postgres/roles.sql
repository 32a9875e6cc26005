-- The two roles and their passwords. Run as the superuser, by psql, in both modes; database.sql after it:
--
--   docker: mounted into /docker-entrypoint-initdb.d, runs when the data folder is made
--   native: psql -v secrets=/path/to/secrets -f docker/postgres/roles.sql
--
-- Safe to run again: it then sets the passwords to what the secret files say now.
\set ON_ERROR_STOP on
\if :{?secrets}
\else
  \set secrets /run/secrets
\endif

-- psql reads the files itself, so that no password is in an argument list or in the environment.
-- Blanks and ends of lines behind a password are no part of it, as for everybody else who reads it.
\set superuser_password `printf %s "$(sed 's/[[:space:]]*$//' :'secrets'/postgres_superuser_password)"`
\set owner_password `printf %s "$(sed 's/[[:space:]]*$//' :'secrets'/postgres_owner_password)"`
\set app_password `printf %s "$(sed 's/[[:space:]]*$//' :'secrets'/postgres_app_password)"`

-- A statement that fails is logged whole, and these hold passwords.
SET log_min_error_statement = panic;
SET log_statement = none;

SELECT '' IN (:'superuser_password', :'owner_password', :'app_password') AS is_empty \gset
\if :is_empty
  DO $$ BEGIN RAISE 'a file of a password is empty or missing'; END $$;
\endif

SELECT 'CREATE ROLE slipway_owner LOGIN'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'slipway_owner') \gexec
SELECT 'CREATE ROLE slipway_app LOGIN'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'slipway_app') \gexec
ALTER ROLE :"USER" PASSWORD :'superuser_password';
ALTER ROLE slipway_owner PASSWORD :'owner_password';
ALTER ROLE slipway_app PASSWORD :'app_password';
