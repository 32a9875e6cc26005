//! What one statement does.

use super::super::tokens::{Kind, Token};
use super::words::{Thing, Words};
use super::{
    CREATE_INDEX, CREATE_TRIGGER, DELETE_ALL, DO_BLOCK, DROP_INDEX, DROP_OBJECT, DROP_SCHEMA,
    DROP_TABLE, Hurt, LOCK_TABLE, MERGE, REFRESH, REINDEX, RENAME, REVOKE, REWRITE, Rule, TRUNCATE,
    UPDATE_ALL,
};

impl Words<'_> {
    pub(super) fn hurts(self) -> Vec<Hurt> {
        let one = |rule: Rule, of: Thing| vec![self.hurt(rule, of, self)];
        if let Some(rest) = self.after("alter") {
            return match rest.skip("foreign").after("table") {
                Some(rest) => rest.table_alterations(self),
                None => rest.alteration(self).into_iter().collect(),
            };
        }
        if let Some(rest) = self.after("create") {
            return match rest.kind() {
                Some((kind, _)) if kind == "trigger" => one(CREATE_TRIGGER, rest.on()),
                Some((kind, _)) if kind == "index" && !rest.has("concurrently") => {
                    one(CREATE_INDEX, rest.on())
                }
                _ => Vec::new(),
            };
        }
        if let Some(rest) = self.after("drop") {
            return rest.drops(self);
        }
        if let Some(names) = self.after("truncate") {
            return self.of_tables(TRUNCATE, names.skip("table"));
        }
        if let Some(names) = self.after("lock") {
            return self.of_tables(LOCK_TABLE, names.skip("table"));
        }
        if self.after("revoke").is_some() {
            return one(REVOKE, self.on());
        }
        let begins = |word: &str| self.after(word).is_some();
        let rule = if begins("do") {
            DO_BLOCK
        } else if begins("cluster") || begins("vacuum") && self.has("full") {
            REWRITE
        } else if begins("reindex") && !self.has("concurrently") {
            REINDEX
        } else if begins("refresh") && !self.has("concurrently") {
            REFRESH
        } else {
            return self.changes();
        };
        one(rule, Thing::default())
    }

    /// Whether Postgres runs it in no transaction.
    pub(super) fn refuses_transaction(self) -> bool {
        let words = ["create", "drop", "reindex", "alter"];
        let is_one_of = |words: &[&str]| words.iter().any(|word| self.after(word).is_some());
        is_one_of(&words) && self.has("concurrently") || is_one_of(&["vacuum"])
    }

    /// One for each table of a list.
    fn of_tables(self, rule: Rule, names: Self) -> Vec<Hurt> {
        let names = names.parts().into_iter();
        names
            .filter_map(|name| name.skip("only").name())
            .map(|(name, _)| self.hurt(rule, Thing::table(name), self))
            .collect()
    }

    /// Behind DROP.
    fn drops(self, statement: Self) -> Vec<Hurt> {
        let Some((kind, names)) = self.kind() else {
            return vec![statement.hurt(DROP_OBJECT, Thing::default(), statement)];
        };
        let rule = match kind.as_str() {
            "index" if self.has("concurrently") => return Vec::new(),
            "index" => DROP_INDEX,
            "table" => DROP_TABLE,
            "schema" => DROP_SCHEMA,
            _ => DROP_OBJECT,
        };
        let parts = names.skip("if exists").parts().into_iter();
        let name = |part: Self| part.name().map_or_else(String::new, |(name, _)| name);
        parts
            .map(|part| Thing {
                kind: kind.clone(),
                name: name(part),
            })
            .map(|of| statement.hurt(rule, of, statement))
            .collect()
    }

    /// Behind ALTER, where that is of no table.
    fn alteration(self, statement: Self) -> Option<Hurt> {
        // Nobody asks for an index by its name; for a view, a type, a function or a schema they do.
        let is_renamed = self.after("index").is_none() && self.has("rename");
        let rule = if is_renamed || self.find("set schema").is_some() {
            RENAME
        } else if self.after("default privileges").is_some() && self.has("revoke") {
            REVOKE
        } else {
            return None;
        };
        let name = self.kind().and_then(|(kind, rest)| {
            let (name, _) = rest.skip("if exists").name()?;
            Some(Thing { kind, name })
        });
        Some(statement.hurt(rule, name.unwrap_or_default(), statement))
    }

    /// What changes rows, here and in a WITH, and does not say which.
    fn changes(self) -> Vec<Hurt> {
        let begins = (0..self.0.len()).filter(|at| match at.checked_sub(1) {
            // Elsewhere these are words of others: FOR UPDATE, DO UPDATE, THEN DELETE.
            Some(before) => {
                let before = &self.0[before];
                matches!(before.kind, Kind::Sign('(' | ')'))
                    || ["explain", "analyze", "verbose"]
                        .iter()
                        .any(|word| before.is(word))
            }
            None => true,
        });
        begins
            .filter_map(|at| {
                let change = Self(&self.0[at..]).body();
                let (rule, rest) = if let Some(rest) = change.after("delete from") {
                    (DELETE_ALL, rest)
                } else if let Some(rest) = change.after("update") {
                    (UPDATE_ALL, rest)
                } else {
                    (MERGE, change.after("merge into")?)
                };
                if rule != MERGE && rest.chooses_rows() {
                    return None;
                }
                let (name, _) = rest.skip("only").name()?;
                Some(change.hurt(rule, Thing::table(name), self))
            })
            .collect()
    }

    /// Whether it has a WHERE that is not the same for every row.
    fn chooses_rows(self) -> bool {
        const SAME: [&str; 7] = ["true", "false", "null", "not", "and", "or", "is"];
        let Some(condition) = self.find("where") else {
            return false;
        };
        let is_of_row = |token: &Token| {
            let name = token.name().unwrap_or("1");
            !name.starts_with(|c: char| c.is_ascii_digit()) && !SAME.contains(&name)
        };
        let mut tokens = condition.0.iter();
        tokens
            .by_ref()
            .take_while(|token| !token.is("returning"))
            .any(is_of_row)
    }
}
