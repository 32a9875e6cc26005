//! What ALTER TABLE does.

use super::super::tokens::Kind;
use super::words::{Thing, Words};
use super::{
    ADD_CONSTRAINT, ADD_NOT_NULL, ALTER_TYPE, DROP_COLUMN, FILL_COLUMN, Hurt, RENAME, REWRITE,
    Rule, SET_NOT_NULL,
};

/// Functions that give one value for a whole statement.
const QUICK: [&str; 7] = [
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "current_timestamp",
    "current_time",
    "localtimestamp",
    "localtime",
];

impl Words<'_> {
    /// Behind ALTER TABLE.
    pub(super) fn table_alterations(self, statement: Self) -> Vec<Hurt> {
        let Some((table, actions)) = self.skip("if exists").skip("only").name() else {
            return Vec::new();
        };
        let actions = match actions.0.split_first() {
            // `name *`: with its children.
            Some((star, rest)) if star.kind == Kind::Sign('*') => Self(rest),
            _ => actions,
        };
        let table = Thing::table(table);
        let mut hurts = Vec::new();
        for action in actions.parts() {
            let rules = action.action().into_iter();
            hurts.extend(rules.map(|rule| action.hurt(rule, table.clone(), statement)));
        }
        hurts
    }

    /// What is wrong with one action.
    fn action(self) -> Vec<Rule> {
        if let Some(added) = self.after("add") {
            return added.addition();
        }
        self.change().into_iter().collect()
    }

    fn change(self) -> Option<Rule> {
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
            if change.after("set expression").is_some() {
                return Some(REWRITE);
            }
            return change.skip("set data").after("type").map(|_| ALTER_TYPE);
        }
        let set = self.after("set")?;
        if set.after("schema").is_some() {
            return Some(RENAME);
        }
        let mut rewrites = ["logged", "unlogged", "tablespace", "access method"].iter();
        rewrites
            .any(|words| set.after(words).is_some())
            .then_some(REWRITE)
    }

    /// Behind ADD.
    fn addition(self) -> Vec<Rule> {
        const CONSTRAINTS: [&str; 6] = [
            "constraint",
            "check",
            "unique",
            "primary key",
            "foreign key",
            "exclude",
        ];
        if CONSTRAINTS.iter().any(|word| self.after(word).is_some()) {
            let is_quick = self.has("not valid") || self.has("using index");
            return if is_quick {
                Vec::new()
            } else {
                vec![ADD_CONSTRAINT]
            };
        }
        let column = self.skip("column").skip("if not exists").name();
        column.map_or_else(Vec::new, |(_, rest)| rest.column())
    }

    /// Behind the name of a new column.
    fn column(self) -> Vec<Rule> {
        let has = |words: &str| self.find(words).is_some();
        let default = self.find("default");
        let is_serial = ["serial", "bigserial", "smallserial"].into_iter().any(has);
        let is_filled = is_serial || default.is_some() || has("generated");
        let is_written = is_serial
            || has("stored")
            || has("identity")
            || default.is_some_and(Self::differs_by_row);
        // A column that is NULL in every row refers to nothing: Postgres reads no row for it.
        let refers = default.is_some() && has("references");
        let is_checked = refers || ["check", "unique", "primary key"].into_iter().any(has);
        let is_needed = has("not null") || has("primary key");
        [
            (is_needed && !is_filled, ADD_NOT_NULL),
            (is_written, FILL_COLUMN),
            (is_checked, ADD_CONSTRAINT),
        ]
        .into_iter()
        .filter_map(|(is_so, rule)| is_so.then_some(rule))
        .collect()
    }

    /// Whether a DEFAULT calls a function that may answer each row with something else.
    fn differs_by_row(self) -> bool {
        const ENDS: [&str; 3] = ["check", "references", "constraint"];
        let tokens = self.0.iter();
        let end = tokens
            .clone()
            .position(|token| ENDS.iter().any(|word| token.is(word)));
        let tokens = &self.0[..end.unwrap_or(self.0.len())];
        tokens.windows(2).enumerate().any(|(at, pair)| {
            // Behind a `::` is a type: varchar(10).
            let is_type = at > 0 && tokens[at - 1].kind == Kind::Sign(':');
            let name = pair[0].name().filter(|_| pair[1].kind == Kind::Sign('('));
            name.is_some_and(|name| !is_type && !QUICK.contains(&name))
        })
    }
}
