//! Statement by statement.

use super::*;

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
            "ALTER TABLE a ADD b int CHECK (b > 0) NOT NULL;",
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
    ] {
        assert_eq!(found(sql), [format!("{expected} 1")], "{sql}");
    }
}

#[test]
fn what_does_no_harm_is_left_alone() {
    for sql in [
        "CREATE TABLE a (b int NOT NULL, CONSTRAINT c CHECK (b > 0)); CREATE INDEX ON a (b);
         ALTER TABLE public.A ADD d int NOT NULL, DROP b; DROP TABLE \"a\";",
        "CREATE UNLOGGED TABLE a (); TRUNCATE a;",
        "ALTER TABLE a ADD COLUMN b int, ADD c text NOT NULL DEFAULT '', ADD d bigserial NOT NULL;",
        "ALTER TABLE a ADD b int GENERATED ALWAYS AS (1) STORED NOT NULL;",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0) NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT c;",
        "ALTER TABLE a ADD CONSTRAINT c UNIQUE USING INDEX i;",
        "ALTER TABLE a DROP CONSTRAINT c, RENAME CONSTRAINT d TO e, ALTER b DROP NOT NULL;",
        "ALTER TABLE a ALTER type SET DEFAULT 1; ALTER INDEX i RENAME TO j;",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON a (b);",
        "DELETE FROM a WHERE b; UPDATE a SET b = 'DROP TABLE a;';",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE a; END $$; COMMENT ON TABLE a IS 'TRUNCATE b';",
        "DROP INDEX i; DROP VIEW v; CREATE TRIGGER t AFTER TRUNCATE ON a EXECUTE FUNCTION f();",
        "",
        ";;",
    ] {
        assert_eq!(found(sql), [""; 0], "{sql}");
    }
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
    assert_eq!(found(&format!("\n{one}SELECT 1;")), [""; 0]);
}
