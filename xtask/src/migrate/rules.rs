//! What a migration must not do in silence: statements that lose data, that hold a lock while they
//! read a whole table, or that the release which still runs cannot live with.
//!
//! Each is accepted when a comment directly above says why it does no harm here:
//! `-- safe: the table is empty until the next release`. A table made further up in the same file is
//! nobody's yet, so what is done to it is fine.

mod statement;
mod table;
mod words;

use self::words::{Thing, Words};
use super::tokens::{Kind, tokens};

/// What a comment that accepts a statement begins with; the reason follows.
const MARK: &str = "safe:";

/// Something that hurts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// Its name in `migrations/safe.txt`.
    pub(super) name: &'static str,
    /// Why it hurts.
    pub(super) why: &'static str,
    /// What to write instead.
    pub(super) instead: &'static str,
}

macro_rules! rules {
    ($($constant:ident $name:literal $why:literal $instead:literal)*) => {
        $(const $constant: Rule = Rule { name: $name, why: $why, instead: $instead };)*
        /// All of them.
        pub(super) const RULES: &[Rule] = &[$($constant),*];
    };
}

rules! {
    DROP_TABLE "drop-table"
        "the rows are lost, and the release that still runs may ask for them"
        "drop it one release after the last one that uses it"
    DROP_COLUMN "drop-column"
        "the values are lost, and the release that still runs may name the column"
        "drop it one release after the last one that uses it"
    TRUNCATE "truncate"
        "every row is lost, and the table is locked for everybody"
        "delete what has to go, in batches, with a WHERE"
    DELETE_ALL "delete-all"
        "without a WHERE every row is lost"
        "say which rows with a WHERE, and in batches where they are many"
    UPDATE_ALL "update-all"
        "without a WHERE every row is written anew, and locked until the migration has ended"
        "say which rows with a WHERE, and in batches where they are many"
    MERGE "merge"
        "it may change or remove every row, and what it does is not looked at here"
        "write UPDATE and DELETE with a WHERE, and INSERT ... ON CONFLICT"
    RENAME "rename"
        "the release that still runs knows the old name, and the old schema, alone"
        "add the new one, write both, and drop the old one a release later"
    ALTER_TYPE "alter-type"
        "most changes of a type rewrite the whole table, locked for everybody"
        "add a column of the new type, write both, copy in batches, and drop the old one later"
    SET_NOT_NULL "set-not-null"
        "every row is read while the table is locked, and the release that still runs may write NULL"
        "ADD CONSTRAINT ... CHECK (x IS NOT NULL) NOT VALID, then VALIDATE CONSTRAINT in the next file, then SET NOT NULL"
    ADD_NOT_NULL "add-not-null"
        "it fails on a table with rows, and the release that still runs does not fill it"
        "give it a DEFAULT, or add it nullable first"
    FILL_COLUMN "fill-column"
        "each row gets a value of its own: the whole table is written anew, locked for everybody"
        "add it nullable, ALTER ... SET DEFAULT for new rows, and fill the others in batches"
    REWRITE "rewrite"
        "the whole table is written anew, locked for everybody"
        "make a new table or column, write both, copy in batches, and drop the old one later"
    CREATE_INDEX "create-index"
        "nobody can write to the table while the index is built"
        "CREATE INDEX CONCURRENTLY, alone in a file that begins with `-- no-transaction`"
    DROP_INDEX "drop-index"
        "everybody waits who reads or writes the table, until the migration has ended"
        "DROP INDEX CONCURRENTLY, alone in a file that begins with `-- no-transaction`"
    REINDEX "reindex"
        "nobody can write to the table while the index is built"
        "REINDEX ... CONCURRENTLY, alone in a file that begins with `-- no-transaction`"
    REFRESH "refresh"
        "nobody can read the view until it is filled"
        "REFRESH MATERIALIZED VIEW CONCURRENTLY; it needs a unique index"
    CREATE_TRIGGER "create-trigger"
        "nobody can write to the table until the migration has ended, and then it acts on what the release that still runs writes"
        "do it in the code that writes"
    ADD_CONSTRAINT "add-constraint"
        "every row is checked while the table is locked"
        "ADD CONSTRAINT ... NOT VALID, then VALIDATE CONSTRAINT in the next file (for UNIQUE and PRIMARY KEY: a unique index made CONCURRENTLY, then ADD CONSTRAINT ... USING INDEX)"
    LOCK_TABLE "lock-table"
        "everybody waits until the migration has ended"
        "leave it out: a migration runs alone, and a statement takes the locks that it needs"
    DROP_SCHEMA "drop-schema"
        "every table in it is lost, and the release that still runs may ask for them"
        "drop its tables one release after the last one that uses them"
    DROP_OBJECT "drop-object"
        "the release that still runs may use it, and with CASCADE more goes than is named"
        "drop it one release after the last one that uses it"
    REVOKE "revoke"
        "the release that still runs may need the right"
        "revoke it one release after the last one that uses it"
    DO_BLOCK "do-block"
        "nothing in its text is looked at here, and it may do anything"
        "write its statements as statements; where it must decide, say in the comment what it does"
    NO_TRANSACTION "no-transaction"
        "when one statement fails, those before it stay, and the file cannot run again"
        "one statement in each such file"
    IN_TRANSACTION "in-transaction"
        "Postgres refuses it in a transaction, and each file runs in one"
        "put it alone in a file that begins with `-- no-transaction`"
}

/// A statement that hurts and that no comment accepts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hurt {
    pub(super) rule: Rule,
    /// Where it is, counted from 1.
    pub(super) line: usize,
    /// Where its statement begins.
    begins: usize,
    /// The table, or what else it is about; nothing where that is not known.
    pub(super) of: Thing,
}

/// What hurts in a file that moves the schema forward.
pub(super) fn hurts(sql: &str) -> Vec<Hurt> {
    all(sql)
        .into_iter()
        .filter(|hurt| !is_accepted(sql, hurt.line) && !is_accepted(sql, hurt.begins))
        .collect()
}

/// What hurts, accepted or not.
pub(super) fn all(sql: &str) -> Vec<Hurt> {
    let tokens = tokens(sql);
    let statements = tokens
        .split(|token| token.kind == Kind::Sign(';'))
        .filter(|statement| !statement.is_empty())
        .map(Words);
    // As sqlx reads it: the first words of the file.
    let has_transaction = !sql.starts_with("-- no-transaction");
    let mut made = Vec::new();
    let mut hurts = Vec::new();
    for (at, statement) in statements.enumerate() {
        let found = statement.hurts().into_iter();
        hurts.extend(found.filter(|hurt| !made.contains(&hurt.of)));
        let whole = |rule| statement.hurt(rule, Thing::default(), statement);
        if has_transaction && statement.refuses_transaction() {
            hurts.push(whole(IN_TRANSACTION));
        }
        if !has_transaction && at == 1 {
            hurts.push(whole(NO_TRANSACTION));
        }
        made.extend(statement.made());
    }
    hurts.sort_by_key(|hurt| hurt.line);
    hurts
}

/// Whether the comment directly above a line, or one of its lines, gives a reason.
fn is_accepted(sql: &str, line: usize) -> bool {
    let above: Vec<&str> = sql.lines().take(line - 1).collect();
    above
        .iter()
        .rev()
        .map_while(|line| line.trim().strip_prefix("--"))
        .filter_map(|comment| comment.trim().strip_prefix(MARK))
        .any(|reason| !reason.trim().is_empty())
}

#[cfg(test)]
mod tests;
