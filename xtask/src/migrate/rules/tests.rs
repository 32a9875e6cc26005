//! Statement by statement.

use proptest::prelude::*;

use super::*;

/// What hurts, one of each kind.
const HURTS: [&str; 8] = [
    "DROP TABLE a",
    "DROP INDEX CONCURRENTLY i",
    "DELETE FROM a",
    "WITH x AS (UPDATE a SET b = 1) SELECT 1",
    "ALTER TABLE a ADD b int UNIQUE DEFAULT f()",
    "REVOKE a FROM b",
    "VACUUM FULL",
    "CREATE TRIGGER t AFTER UPDATE ON a EXECUTE FUNCTION f()",
];

/// Names of rules and their lines: `drop-table 1`.
fn found(sql: &str) -> Vec<String> {
    let hurts = hurts(sql).into_iter();
    hurts
        .map(|hurt| format!("{} {}", hurt.rule.name, hurt.line))
        .collect()
}

#[test]
fn each_statement_that_hurts_is_found() {
    for (sql, expected) in [
        ("DROP TABLE a;", "drop-table"),
        ("drop table if exists public.a cascade", "drop-table"),
        ("ALTER TABLE a DROP COLUMN b;", "drop-column"),
        ("ALTER TABLE a DROP b;", "drop-column"),
        (
            "ALTER TABLE IF EXISTS ONLY a * DROP IF EXISTS b;",
            "drop-column",
        ),
        ("TRUNCATE a;", "truncate"),
        ("TRUNCATE TABLE ONLY a;", "truncate"),
        ("DELETE FROM a;", "delete-all"),
        ("DELETE FROM ONLY a USING b;", "delete-all"),
        ("ALTER TABLE a RENAME TO b;", "rename"),
        ("ALTER TABLE a RENAME COLUMN b TO c;", "rename"),
        ("ALTER TABLE a RENAME b TO c;", "rename"),
        ("ALTER TYPE a RENAME VALUE 'b' TO 'c';", "rename"),
        ("ALTER TABLE a ALTER COLUMN b TYPE bigint;", "alter-type"),
        ("ALTER TABLE a ALTER b SET DATA TYPE bigint;", "alter-type"),
        ("ALTER TABLE a ALTER b SET NOT NULL;", "set-not-null"),
        ("ALTER TABLE a ADD COLUMN b int NOT NULL;", "add-not-null"),
        (
            "ALTER TABLE a ADD b int CONSTRAINT c NOT NULL;",
            "add-not-null",
        ),
        ("CREATE INDEX ON a (b);", "create-index"),
        (
            "CREATE UNIQUE INDEX IF NOT EXISTS i ON ONLY a (b);",
            "create-index",
        ),
        (
            "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0);",
            "add-constraint",
        ),
        (
            "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c;",
            "add-constraint",
        ),
        ("ALTER TABLE a ADD PRIMARY KEY (b);", "add-constraint"),
        ("LOCK TABLE a IN SHARE MODE;", "lock-table"),
        ("LOCK a;", "lock-table"),
        ("DROP SCHEMA IF EXISTS a CASCADE;", "drop-schema"),
        ("DO $$ BEGIN DROP TABLE a; END $$;", "do-block"),
        // A table that may have been there before is not this file's.
        (
            "CREATE TABLE IF NOT EXISTS a (b int); DROP TABLE a;",
            "drop-table",
        ),
        ("CREATE TABLE \"A\" (b int); DROP TABLE a;", "drop-table"),
        ("CREATE TABLE s.a (b int); DROP TABLE t.a;", "drop-table"),
        ("DROP TABLE a; CREATE TABLE a (b int);", "drop-table"),
        (
            "CREATE OR REPLACE VIEW a AS SELECT 1; DROP VIEW a;",
            "drop-object",
        ),
        ("DROP VIEW a;", "drop-object"),
        ("DROP MATERIALIZED VIEW IF EXISTS a CASCADE;", "drop-object"),
        ("DROP TYPE a;", "drop-object"),
        ("DROP SEQUENCE a;", "drop-object"),
        ("DROP FUNCTION a(int, text);", "drop-object"),
        ("DROP TRIGGER a ON b;", "drop-object"),
        ("DROP EXTENSION a;", "drop-object"),
        ("DROP DATABASE a;", "drop-object"),
        ("DROP OWNED BY a;", "drop-object"),
        ("DROP CAST (a AS b);", "drop-object"),
        ("DROP INDEX a;", "drop-index"),
        ("DELETE FROM a WHERE true;", "delete-all"),
        ("DELETE FROM a WHERE 1 = 1 RETURNING b;", "delete-all"),
        ("DELETE FROM a WHERE (NOT false);", "delete-all"),
        ("DELETE FROM a USING (SELECT 1 WHERE x) b;", "delete-all"),
        ("WITH x AS (SELECT 1 WHERE y) DELETE FROM a;", "delete-all"),
        (
            "WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x WHERE b;",
            "delete-all",
        ),
        ("UPDATE a SET b = 1;", "update-all"),
        ("UPDATE ONLY a SET b = (SELECT 1 WHERE c);", "update-all"),
        ("EXPLAIN ANALYZE UPDATE a SET b = 1;", "update-all"),
        (
            "MERGE INTO a USING b ON c WHEN MATCHED THEN DELETE;",
            "merge",
        ),
        ("CLUSTER a USING b;", "rewrite"),
        ("ALTER TABLE a SET LOGGED;", "rewrite"),
        ("ALTER TABLE a SET UNLOGGED;", "rewrite"),
        ("ALTER TABLE a SET TABLESPACE b;", "rewrite"),
        ("ALTER TABLE a SET ACCESS METHOD b;", "rewrite"),
        ("ALTER TABLE a ALTER b SET EXPRESSION AS (1);", "rewrite"),
        ("ALTER TABLE a SET SCHEMA b;", "rename"),
        ("ALTER VIEW a SET SCHEMA b;", "rename"),
        ("REINDEX TABLE a;", "reindex"),
        ("REFRESH MATERIALIZED VIEW a;", "refresh"),
        (
            "CREATE OR REPLACE TRIGGER a AFTER UPDATE OF b ON c EXECUTE FUNCTION d();",
            "create-trigger",
        ),
        ("REVOKE SELECT ON a FROM b;", "revoke"),
        ("REVOKE a FROM b;", "revoke"),
        (
            "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM a;",
            "revoke",
        ),
        (
            "ALTER TABLE a ADD b uuid DEFAULT gen_random_uuid();",
            "fill-column",
        ),
        (
            "ALTER TABLE a ADD b timestamptz NOT NULL DEFAULT clock_timestamp();",
            "fill-column",
        ),
        ("ALTER TABLE a ADD b bigserial NOT NULL;", "fill-column"),
        (
            "ALTER TABLE a ADD b int GENERATED ALWAYS AS (1) STORED NOT NULL;",
            "fill-column",
        ),
        (
            "ALTER TABLE a ADD b int GENERATED BY DEFAULT AS IDENTITY;",
            "fill-column",
        ),
        ("ALTER TABLE a ADD b int UNIQUE;", "add-constraint"),
        (
            "ALTER TABLE a ADD b int[] DEFAULT '{1, 2}' CHECK (f(b));",
            "add-constraint",
        ),
        (
            "ALTER TABLE a ADD b int DEFAULT 1 REFERENCES c (d);",
            "add-constraint",
        ),
        ("CREATE INDEX CONCURRENTLY i ON a (b);", "in-transaction"),
        ("DROP INDEX CONCURRENTLY i;", "in-transaction"),
        ("REINDEX INDEX CONCURRENTLY i;", "in-transaction"),
        ("VACUUM a;", "in-transaction"),
        ("-- no-transaction\nVACUUM (FULL) a;", "rewrite"),
    ] {
        let line = 1 + sql.matches('\n').count();
        assert_eq!(found(sql), [format!("{expected} {line}")], "{sql}");
    }
}

#[test]
fn what_does_no_harm_is_left_alone() {
    for sql in [
        "CREATE TABLE a (b int NOT NULL, CONSTRAINT c CHECK (b > 0)); CREATE INDEX ON a (b);
         ALTER TABLE public.A ADD d int NOT NULL, DROP b; DROP TABLE \"a\";",
        "CREATE UNLOGGED TABLE a (); TRUNCATE a;",
        "ALTER TABLE a ADD COLUMN b int, ADD c text NOT NULL DEFAULT '';",
        "ALTER TABLE a ADD b timestamptz NOT NULL DEFAULT (now() + '1 day'::interval(0)), ADD c int REFERENCES d (e);",
        "ALTER TABLE a ADD stored int, ADD c int GENERATED ALWAYS AS (f(b)) VIRTUAL;",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0) NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT c;",
        "ALTER TABLE a ADD CONSTRAINT c UNIQUE USING INDEX i;",
        "ALTER TABLE a DROP CONSTRAINT c, RENAME CONSTRAINT d TO e, ALTER b DROP NOT NULL;",
        "ALTER TABLE a ALTER type SET DEFAULT 1; ALTER INDEX i RENAME TO j;",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON a (b);",
        "DELETE FROM a WHERE b; UPDATE a SET b = 'DROP TABLE a;' WHERE c IS NULL RETURNING d;",
        "WITH x AS (SELECT b FROM a FOR UPDATE SKIP LOCKED) UPDATE a SET c = 1 FROM x WHERE a.b = x.b;",
        "INSERT INTO a VALUES (1) ON CONFLICT (b) DO UPDATE SET c = 2;",
        "GRANT UPDATE, DELETE ON a TO b; REFRESH MATERIALIZED VIEW CONCURRENTLY a;",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE a; END $$; COMMENT ON TABLE a IS 'TRUNCATE b';",
        "CREATE TABLE a (); CREATE TRIGGER t AFTER TRUNCATE ON a EXECUTE FUNCTION f(); DROP TRIGGER t ON a; REVOKE ALL ON a FROM b;",
        "CREATE FUNCTION f() RETURNS int RETURN 1; REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC;",
        "CREATE MATERIALIZED VIEW a AS SELECT 1; DROP MATERIALIZED VIEW a; CREATE TYPE public.b AS (); DROP TYPE b;",
        "-- no-transaction\nDROP INDEX CONCURRENTLY i;",
        "",
        ";;",
    ] {
        assert_eq!(found(sql), [""; 0], "{sql}");
    }
}

#[test]
fn a_new_column_may_hurt_in_more_than_one_way() {
    assert_eq!(
        found("ALTER TABLE a ADD b int CHECK (b > 0) NOT NULL;"),
        ["add-not-null 1", "add-constraint 1"]
    );
}

#[test]
fn every_action_and_every_table_counts() {
    assert_eq!(
        found(
            "ALTER TABLE a\n    ADD b int,\n    DROP c,\n    ALTER d TYPE numeric(5, 2),\n    DROP e;"
        ),
        ["drop-column 3", "alter-type 4", "drop-column 5"]
    );
    assert_eq!(
        found("CREATE TABLE a ();\nDROP TABLE a, b, c;"),
        ["drop-table 2", "drop-table 2"]
    );
}

#[test]
fn a_reason_directly_above_accepts() {
    for sql in [
        "-- safe: nobody has used it since 1.4\nDROP TABLE a;",
        "SELECT 1;\n\n-- Why it is here:\n-- safe: empty\n-- and more.\nDROP TABLE a;",
        "ALTER TABLE a\n    ADD b int,\n    -- safe: since 1.4 nobody reads it\n    DROP c;",
        "-- safe: of the whole statement\nALTER TABLE a\n    ADD b int,\n    DROP c;",
    ] {
        assert_eq!(found(sql), [""; 0], "{sql}");
        assert_eq!(all(sql).len(), 1, "{sql}");
    }
    for sql in [
        "-- safe:\nDROP TABLE a;",
        "-- It is safe: trust me\nDROP TABLE a;",
        "-- safe: it is empty\n\nDROP TABLE a;",
        "-- safe: it is empty\nSELECT 1;\nDROP TABLE a;",
        "SELECT 1; -- safe: it is empty\nDROP TABLE a;",
        "DROP TABLE a; -- safe: it is empty",
    ] {
        assert_eq!(found(sql).len(), 1, "{sql}");
    }
}

#[test]
fn without_a_transaction_there_is_one_statement() {
    let one = "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON a (b);\n";
    assert_eq!(found(&format!("{one}\nSELECT 1;")), ["no-transaction 4"]);
    assert_eq!(
        found(&format!("{one}-- safe: repeatable\nSELECT 1;")),
        [""; 0]
    );
    // sqlx looks at the first words of the file alone.
    assert_eq!(found(&format!("\n{one}SELECT 1;")), ["in-transaction 3"]);
}

proptest! {
    #[test]
    fn what_a_text_or_a_comment_says_never_counts(
        hurt in prop::sample::select(&HURTS),
        other in prop::sample::select(&HURTS),
        (open, close) in prop::sample::select(&[
            ("/* ", " */"), ("-- ", "\n"), ("'; ", ";'"), ("E'\\'; ", "'"), ("$$; ", "$$"), ("$x$", "$x$"),
        ]),
        at in any::<prop::sample::Index>(),
    ) {
        let said = format!("{open}{hurt}{close}");
        prop_assert_eq!(found(&format!("SELECT\n{said}\n;")), [""; 0]);
        // Between the words of another statement a comment changes nothing.
        if open.starts_with(['/', '-']) {
            let mut words: Vec<&str> = other.split(' ').collect();
            words.insert(at.index(words.len()) + 1, &said);
            let names = |sql: &str| -> Vec<&str> {
                hurts(sql).iter().map(|hurt| hurt.rule.name).collect()
            };
            prop_assert_eq!(names(&words.join(" ")), names(other));
        }
    }
}
