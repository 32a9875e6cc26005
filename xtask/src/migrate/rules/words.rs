//! The tokens of a statement, read from the left.

use super::super::tokens::{Kind, Token};
use super::{Hurt, Rule};

/// What may stand between CREATE or DROP and the kind of thing, in this order.
const BEFORE_KIND: [&str; 12] = [
    "or replace",
    "global",
    "local",
    "temporary",
    "temp",
    "unlogged",
    "unique",
    "recursive",
    "materialized",
    "constraint",
    "foreign",
    "event",
];

/// What is known by a name of its own.
const KINDS: [&str; 12] = [
    "table",
    "view",
    "index",
    "sequence",
    "type",
    "domain",
    "function",
    "procedure",
    "schema",
    "trigger",
    "policy",
    "extension",
];

/// What a statement is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct Thing {
    /// `table`, `view`, ...
    pub(super) kind: String,
    /// With its schema, unless that is `public`; empty when it is not known.
    pub(in super::super) name: String,
}

impl Thing {
    pub(super) fn table(name: String) -> Self {
        let kind = "table".to_owned();
        Self { kind, name }
    }
}

/// The tokens of a statement, or what is left of them.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub(super) &'a [Token]);

impl Words<'_> {
    /// Without these words, when it begins with them.
    pub(super) fn after(self, words: &str) -> Option<Self> {
        let mut rest = self.0;
        for word in words.split(' ') {
            let (first, others) = rest.split_first()?;
            if !first.is(word) {
                return None;
            }
            rest = others;
        }
        Some(Self(rest))
    }

    /// Without these words, if they are there.
    pub(super) fn skip(self, words: &str) -> Self {
        self.after(words).unwrap_or(self)
    }

    /// Whether these words are in it, in brackets or not.
    pub(super) fn has(self, words: &str) -> bool {
        (0..self.0.len()).any(|at| Self(&self.0[at..]).after(words).is_some())
    }

    /// What follows these words where they are in no brackets.
    pub(super) fn find(self, words: &str) -> Option<Self> {
        let mut depth = 0;
        let outside = (0..self.0.len()).filter(|at| {
            depth += self.0[*at].depth();
            depth == 0
        });
        outside
            .map(|at| Self(&self.0[at..]))
            .find_map(|rest| rest.after(words))
    }

    /// Up to the bracket that closes what it stands in.
    pub(super) fn body(self) -> Self {
        let mut depth = 0;
        let end = self.0.iter().position(|token| {
            depth += token.depth();
            depth < 0
        });
        Self(&self.0[..end.unwrap_or(self.0.len())])
    }

    /// Parts between commas that are in no brackets.
    pub(super) fn parts(self) -> Vec<Self> {
        let mut depth = 0;
        let is_end = |token: &Token| {
            depth += token.depth();
            depth == 0 && token.kind == Kind::Sign(',')
        };
        self.0.split(is_end).map(Words).collect()
    }

    /// A name, with its schema unless that is `public`, and what follows it.
    pub(super) fn name(self) -> Option<(String, Self)> {
        let (first, mut rest) = self.0.split_first()?;
        let mut name = first.name()?.to_owned();
        while let [dot, next, others @ ..] = rest
            && dot.kind == Kind::Sign('.')
            && let Some(inner) = next.name()
        {
            name = if name == "public" {
                inner.to_owned()
            } else {
                format!("{name}.{inner}")
            };
            rest = others;
        }
        Some((name, Self(rest)))
    }

    /// Behind CREATE or DROP: `table`, `index`, ... and what follows it.
    pub(super) fn kind(self) -> Option<(String, Self)> {
        let words = BEFORE_KIND.iter();
        let (first, rest) = words
            .fold(self, |rest, word| rest.skip(word))
            .0
            .split_first()?;
        let Kind::Word(kind) = &first.kind else {
            return None;
        };
        Some((kind.clone(), Self(rest).skip("concurrently")))
    }

    /// The thing behind an ON, as in `CREATE INDEX i ON a`; a table where no kind is said.
    pub(super) fn on(self) -> Thing {
        let Some(rest) = self.find("on") else {
            return Thing::default();
        };
        let kind = KINDS.iter().find(|kind| rest.after(kind).is_some());
        let kind = kind.copied().unwrap_or("table");
        let name = rest.skip(kind).skip("only").name();
        name.map_or_else(Thing::default, |(name, _)| Thing {
            kind: kind.to_owned(),
            name,
        })
    }

    /// What the statement makes. What may be there already is not made.
    pub(super) fn made(self) -> Option<Thing> {
        let rest = self.after("create")?;
        if rest.after("or replace").is_some() {
            return None;
        }
        let (kind, rest) = rest.kind()?;
        if !KINDS.contains(&kind.as_str()) || rest.after("if not exists").is_some() {
            return None;
        }
        let (name, _) = rest.name()?;
        Some(Thing { kind, name })
    }

    pub(super) fn hurt(self, rule: Rule, of: Thing, statement: Self) -> Hurt {
        Hurt {
            rule,
            line: self.line(),
            begins: statement.line(),
            of,
        }
    }

    fn line(self) -> usize {
        self.0.first().map_or(1, |token| token.line)
    }
}

impl Token {
    /// Whether it is this word, in no quotes.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(found) if found == word)
    }

    /// The name that it is, or may be.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(name) | Kind::Quoted(name) => Some(name),
            Kind::Text | Kind::Sign(_) => None,
        }
    }

    /// By how much what follows is deeper in brackets.
    fn depth(&self) -> i32 {
        match self.kind {
            Kind::Sign('(' | '[') => 1,
            Kind::Sign(')' | ']') => -1,
            _ => 0,
        }
    }
}
