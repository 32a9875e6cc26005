//! What a migration must not do in silence: statements that lose data, that hold a lock while they
//! read a whole table, or that the release which still runs cannot live with.
//!
//! Each is accepted when a comment directly above says why it does no harm here:
//! `-- safe: the table is empty until the next release`. A table made in the same file is nobody's
//! yet, so what is done to it is fine.

use super::tokens::{Kind, Token, tokens};

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
        "say which rows with a WHERE"
    RENAME "rename"
        "the release that still runs knows the old name alone"
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
    CREATE_INDEX "create-index"
        "nobody can write to the table while the index is built"
        "CREATE INDEX CONCURRENTLY, alone in a file that begins with `-- no-transaction`"
    ADD_CONSTRAINT "add-constraint"
        "every row is checked while the table is locked"
        "ADD CONSTRAINT ... NOT VALID, then VALIDATE CONSTRAINT in the next file (for UNIQUE and PRIMARY KEY: a unique index made CONCURRENTLY, then ADD CONSTRAINT ... USING INDEX)"
    LOCK_TABLE "lock-table"
        "everybody waits until the migration has ended"
        "leave it out: a migration runs alone, and a statement takes the locks that it needs"
    DROP_SCHEMA "drop-schema"
        "every table in it is lost, and the release that still runs may ask for them"
        "drop its tables one release after the last one that uses them"
    DO_BLOCK "do-block"
        "nothing in its text is looked at here, and it may do anything"
        "write its statements as statements; where it must decide, say in the comment what it does"
    NO_TRANSACTION "no-transaction"
        "when one statement fails, those before it stay, and the file cannot run again"
        "one statement in each such file"
}

/// A statement that hurts and that no comment accepts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hurt {
    pub(super) rule: Rule,
    /// Where it is, counted from 1.
    pub(super) line: usize,
    /// Where its statement begins.
    begins: usize,
    /// The table, or nothing where there is none.
    pub(super) of: String,
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
    let statements: Vec<&[Token]> = tokens
        .split(|token| token.kind == Kind::Sign(';'))
        .filter(|statement| !statement.is_empty())
        .collect();
    let made: Vec<String> = statements
        .iter()
        .filter_map(|tokens| Words(tokens).made())
        .collect();
    let mut hurts: Vec<Hurt> = statements
        .iter()
        .flat_map(|tokens| Words(tokens).hurts())
        .filter(|hurt| !made.contains(&hurt.of))
        .collect();
    // As sqlx reads it: the first words of the file.
    if sql.starts_with("-- no-transaction")
        && let Some(second) = statements.get(1)
    {
        hurts.push(Hurt {
            rule: NO_TRANSACTION,
            line: second[0].line,
            begins: second[0].line,
            of: String::new(),
        });
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

/// The tokens of a statement, or what is left of them.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [Token]);

impl<'a> Words<'a> {
    /// Without these words, when it begins with them.
    fn after(self, words: &str) -> Option<Self> {
        let mut rest = self.0;
        for word in words.split(' ') {
            let (first, others) = rest.split_first()?;
            if !matches!(&first.kind, Kind::Word(found) if found == word) {
                return None;
            }
            rest = others;
        }
        Some(Self(rest))
    }

    /// Without these words, if they are there.
    fn skip(self, words: &str) -> Self {
        self.after(words).unwrap_or(self)
    }

    fn has(self, words: &str) -> bool {
        (0..self.0.len()).any(|at| Self(&self.0[at..]).after(words).is_some())
    }

    /// A table's name, without its schema, and what follows it.
    fn name(self) -> Option<(String, Self)> {
        let (first, mut rest) = self.0.split_first()?;
        let mut name = identifier(first)?;
        while let [dot, next, others @ ..] = rest
            && dot.kind == Kind::Sign('.')
            && let Some(inner) = identifier(next)
        {
            (name, rest) = (inner, others);
        }
        Some((name, Self(rest)))
    }

    fn line(self) -> usize {
        self.0.first().map_or(1, |token| token.line)
    }

    /// Parts between commas that are in no brackets.
    fn parts(self) -> Vec<Self> {
        let mut depth = 0;
        let is_end = |token: &Token| {
            match token.kind {
                Kind::Sign('(') => depth += 1,
                Kind::Sign(')') => depth -= 1,
                _ => {}
            }
            depth == 0 && token.kind == Kind::Sign(',')
        };
        self.0.split(is_end).map(Words).collect()
    }

    /// The table that the statement makes, if it makes one. One that may be there already is not
    /// made.
    fn made(self) -> Option<String> {
        let rest = self.after("create")?;
        let rest = rest.skip("global").skip("local").skip("temporary");
        let rest = rest.skip("temp").skip("unlogged").after("table")?;
        if rest.after("if not exists").is_some() {
            return None;
        }
        Some(rest.name()?.0)
    }

    fn hurts(self) -> Vec<Hurt> {
        let one = |rule: Rule, table: Option<(String, Self)>| {
            let of = table.map(|(name, _)| name).unwrap_or_default();
            vec![self.hurt(rule, of, self)]
        };
        let tables = |rule: Rule, names: Self| {
            let names = names.parts().into_iter();
            names
                .map(|name| name.skip("only").name())
                .flat_map(|name| one(rule, name))
                .collect()
        };
        if let Some(rest) = self.after("alter") {
            return rest.alterations(self);
        }
        if let Some(names) = self.after("drop table") {
            return tables(DROP_TABLE, names.skip("if exists"));
        }
        if self.after("drop schema").is_some() {
            return one(DROP_SCHEMA, None);
        }
        if self.after("do").is_some() {
            return one(DO_BLOCK, None);
        }
        if let Some(names) = self.after("truncate") {
            return tables(TRUNCATE, names.skip("table"));
        }
        if let Some(names) = self.after("lock") {
            return tables(LOCK_TABLE, names.skip("table"));
        }
        if let Some(rest) = self.after("delete from")
            && !rest.has("where")
        {
            return one(DELETE_ALL, rest.skip("only").name());
        }
        let create = self.after("create").map(|rest| rest.skip("unique"));
        if let Some(rest) = create.and_then(|rest| rest.after("index"))
            && rest.after("concurrently").is_none()
        {
            return one(CREATE_INDEX, rest.indexed());
        }
        Vec::new()
    }

    /// The table behind the ON of CREATE INDEX.
    fn indexed(self) -> Option<(String, Self)> {
        let at = (0..self.0.len()).find_map(|at| Self(&self.0[at..]).after("on"))?;
        at.skip("only").name()
    }

    /// Behind ALTER.
    fn alterations(self, statement: Self) -> Vec<Hurt> {
        let Some(rest) = self.after("table") else {
            // A renamed index is nobody's; a view, a type, a function or a schema is asked for.
            let is_renamed = self.after("index").is_none() && self.has("rename");
            let hurt = || statement.hurt(RENAME, String::new(), statement);
            return is_renamed.then(hurt).into_iter().collect();
        };
        let Some((table, actions)) = rest.skip("if exists").skip("only").name() else {
            return Vec::new();
        };
        let actions = match actions.0.split_first() {
            // `name *`: with its children.
            Some((star, rest)) if star.kind == Kind::Sign('*') => Self(rest),
            _ => actions,
        };
        let parts = actions.parts().into_iter();
        let found = parts.filter_map(|action| Some((action, action.action()?)));
        found
            .map(|(action, rule)| action.hurt(rule, table.clone(), statement))
            .collect()
    }

    /// What is wrong with one action of ALTER TABLE.
    fn action(self) -> Option<Rule> {
        if let Some(rest) = self.after("drop") {
            return rest.after("constraint").is_none().then_some(DROP_COLUMN);
        }
        if let Some(rest) = self.after("rename") {
            return rest.after("constraint").is_none().then_some(RENAME);
        }
        if let Some(rest) = self.after("alter") {
            let (_, change) = rest.skip("column").name()?;
            if change.after("set not null").is_some() {
                return Some(SET_NOT_NULL);
            }
            return change.skip("set data").after("type").map(|_| ALTER_TYPE);
        }
        let added = self.after("add")?;
        const CONSTRAINTS: [&str; 6] = [
            "constraint",
            "check",
            "unique",
            "primary key",
            "foreign key",
            "exclude",
        ];
        if CONSTRAINTS.iter().any(|word| added.after(word).is_some()) {
            let is_quick = added.has("not valid") || added.has("using index");
            return (!is_quick).then_some(ADD_CONSTRAINT);
        }
        let is_filled = ["default", "generated", "serial", "bigserial", "smallserial"]
            .iter()
            .any(|word| added.has(word));
        let is_needed = added.has("not null") || added.has("primary key");
        (is_needed && !is_filled).then_some(ADD_NOT_NULL)
    }

    fn hurt(self, rule: Rule, of: String, statement: Self) -> Hurt {
        Hurt {
            rule,
            line: self.line(),
            begins: statement.line(),
            of,
        }
    }
}

fn identifier(token: &Token) -> Option<String> {
    match &token.kind {
        Kind::Word(name) | Kind::Quoted(name) => Some(name.clone()),
        Kind::Text | Kind::Sign(_) => None,
    }
}

#[cfg(test)]
mod tests;
