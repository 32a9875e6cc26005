-- A database and who may do what in it. Run as the superuser, by psql, after roles.sql, in both modes.
--
-- Safe to run again. `cargo xtask db restore` makes the database that takes the other's place with
-- it too, under another name: psql -v database=NAME.
\set ON_ERROR_STOP on
\if :{?database}
\else
  \set database slipway
\endif

SELECT format('CREATE DATABASE %I OWNER slipway_owner', :'database')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO slipway_app;

-- The owner changes the schema; the application reads and writes rows, also of tables to come.
\connect :"database"
ALTER SCHEMA public OWNER TO slipway_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO slipway_app;
ALTER DEFAULT PRIVILEGES FOR ROLE slipway_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO slipway_app;
ALTER DEFAULT PRIVILEGES FOR ROLE slipway_owner IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO slipway_app;
