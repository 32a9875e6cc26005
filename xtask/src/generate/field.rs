//! A field of a resource or a payload, as `name:type` says it.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::names;

/// What a field can be. Each is a type of Postgres, of Rust and of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Timestamp,
    Uuid,
}

/// A field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// Names that a resource has anyway, or that the code around its fields uses.
const TAKEN: [&str; 8] = [
    "id",
    "account_id",
    "version",
    "created_at",
    "updated_at",
    "fields",
    "text",
    "boolean",
];

impl Kind {
    const ALL: [Self; 5] = [
        Self::Text,
        Self::Integer,
        Self::Boolean,
        Self::Timestamp,
        Self::Uuid,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Uuid => "uuid",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamptz",
            other => other.name(),
        }
    }

    fn rust(self) -> &'static str {
        match self {
            Self::Text => "String",
            Self::Integer => "i32",
            Self::Boolean => "bool",
            Self::Timestamp => "OffsetDateTime",
            Self::Uuid => "Uuid",
        }
    }

    /// The function of the generated folder that reads it.
    pub(super) fn parser(self) -> Option<&'static str> {
        match self {
            Self::Text => Some("parse_text"),
            Self::Integer => Some("parse_integer"),
            Self::Boolean => None,
            Self::Timestamp => Some("parse_time"),
            Self::Uuid => Some("parse_id"),
        }
    }

    /// What it needs of `api::fields`.
    pub(super) fn reader(self) -> Option<&'static str> {
        match self {
            Self::Text | Self::Timestamp | Self::Uuid => Some("text"),
            Self::Boolean => Some("boolean"),
            Self::Integer => None,
        }
    }

    /// What the OpenAPI document says of it beyond its type.
    fn schema(self) -> Option<&'static str> {
        match self {
            Self::Text => Some(r#"example = "Ada's", max_length = 256, pattern = "^[^\\u0000]*$""#),
            Self::Integer => Some("example = 1, minimum = -2147483648, maximum = 2147483647"),
            Self::Boolean | Self::Timestamp | Self::Uuid => None,
        }
    }

    /// An example, where the type alone gives none to `api::openapi`.
    fn example(self) -> Option<&'static str> {
        match self {
            Self::Text => Some(r#"#[schema(example = "Ada's")]"#),
            Self::Integer => Some("#[schema(example = 1)]"),
            Self::Boolean | Self::Timestamp | Self::Uuid => None,
        }
    }

    /// Two values that are right and one that is wrong, as JSON.
    fn samples(self) -> [&'static str; 3] {
        match self {
            Self::Text => [r#""Ada's""#, r#""Other — “better”""#, "1"],
            Self::Integer => ["1", "-2147483648", "2147483648_i64"],
            Self::Boolean => ["true", "false", r#""yes""#],
            Self::Timestamp => [
                r#""2026-01-02T03:04:05Z""#,
                r#""2027-12-31T23:59:59.5Z""#,
                r#""yesterday""#,
            ],
            Self::Uuid => [
                r#""0192d3a5-0000-7000-8000-000000000001""#,
                r#""0192d3a5-0000-7000-8000-000000000002""#,
                r#""1""#,
            ],
        }
    }
}

impl Field {
    /// Reads `name:type`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Some((name, kind)) = text.split_once(':') else {
            bail!(
                "`{text}` has no type\n  next: write it as {text}:text, or one of {}",
                list_of_kinds()
            );
        };
        names::check("field", name)?;
        names::check_sql("field", name)?;
        if TAKEN.contains(&name) || name.starts_with("parse_") {
            bail!(
                "a field cannot be called `{name}`: the code around it has something of this name\n  \
                 next: give it another one"
            );
        }
        if kind == "account" {
            bail!(
                "`{text}` is not needed: each belongs to the account that makes it, as account_id\n  \
                 next: the same without it"
            );
        }
        let Some(kind) = Kind::from_name(kind) else {
            bail!(
                "`{kind}` is no type of a field\n  next: take one of {}; what they cannot say, say in \
                 the files afterwards",
                list_of_kinds()
            );
        };
        Ok(Self {
            name: name.to_owned(),
            kind,
        })
    }

    /// Reads all of them; no name may come twice.
    pub(super) fn parse_all(texts: &[String]) -> Result<Vec<Self>> {
        let fields: Vec<Self> = texts
            .iter()
            .map(|text| Self::parse(text))
            .collect::<Result<_>>()?;
        let mut seen = BTreeSet::new();
        match fields.iter().find(|field| !seen.insert(&field.name)) {
            Some(twice) => bail!(
                "the field `{}` is there twice\n  next: leave one out",
                twice.name
            ),
            None => Ok(fields),
        }
    }

    /// What stands for this field, the `index`th, in a template.
    pub(super) fn replacements(&self, index: usize) -> Vec<(&'static str, String)> {
        let Self { name, kind } = self;
        let rust = kind.rust();
        let [first, second, wrong] = kind.samples();
        let serialized = match kind {
            Kind::Timestamp => r#"#[serde(with = "time::serde::rfc3339")]"#,
            _ => "",
        };
        let schema = kind.schema();
        let schema_of_new = schema.map(|schema| format!("#[schema({schema})]"));
        let schema_of_change = match schema {
            Some(schema) => {
                format!("#[schema(value_type = {rust}, required = false, {schema})]")
            }
            None => format!("#[schema(value_type = {rust}, required = false)]"),
        };
        let parsed = match (kind.reader(), kind.parser()) {
            (Some(reader), Some(parser)) => format!("{reader}({parser})"),
            (reader, parser) => reader.or(parser).unwrap_or_default().to_owned(),
        };
        let (new, changed) = match kind {
            Kind::Text => (
                format!("new.{name}.as_str()"),
                format!("change.{name}.as_deref()"),
            ),
            _ => (format!("new.{name}"), format!("change.{name}")),
        };
        let sample = match kind {
            Kind::Text => format!("{first}.to_owned()"),
            Kind::Timestamp => "time::OffsetDateTime::UNIX_EPOCH".to_owned(),
            Kind::Uuid => "uuid::Uuid::now_v7()".to_owned(),
            Kind::Integer | Kind::Boolean => first.to_owned(),
        };
        let in_payload = match kind {
            Kind::Timestamp => "time::OffsetDateTime",
            _ => rust,
        };
        // A longer one first where one begins another.
        vec![
            ("NEW_FIELD", new),
            ("CHANGED_FIELD", changed),
            ("$CHANGED", format!("${}", index + 4)),
            ("SCHEMA_OF_NEW", schema_of_new.unwrap_or_default()),
            ("SCHEMA_OF_CHANGE", schema_of_change),
            ("EXAMPLE", kind.example().unwrap_or_default().to_owned()),
            ("SERIALIZED", serialized.to_owned()),
            ("{Its field}", self.sentence()),
            ("FIELD", name.clone()),
            ("RUST_TYPE", rust.to_owned()),
            ("JOB_TYPE", in_payload.to_owned()),
            ("SQL_TYPE", kind.sql().to_owned()),
            ("PARSED", parsed),
            ("SAMPLE", sample),
            ("FIRST", first.to_owned()),
            ("SECOND", second.to_owned()),
            ("WRONG", wrong.to_owned()),
        ]
    }

    /// What a doc comment says until somebody knows better.
    fn sentence(&self) -> String {
        let words = self.name.replace('_', " ");
        match self.kind {
            Kind::Boolean => format!("Whether it is {words}"),
            Kind::Timestamp => match words.strip_suffix(" at") {
                Some(words) if words.ends_with('s') => format!("When it {words}"),
                Some(words) => format!("When it is {words}"),
                None => format!("Its {words}"),
            },
            Kind::Text | Kind::Integer => format!("Its {words}"),
            Kind::Uuid => match words.strip_suffix(" id") {
                Some(words) => format!("Which {words}"),
                None => format!("Its {words}"),
            },
        }
    }
}

fn list_of_kinds() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_cannot_be_says_why() {
        for (text, why) in [
            ("name", "has no type"),
            ("name:string", "text, integer, boolean, timestamp, uuid"),
            ("Name:text", "lower case"),
            ("1st:text", "lower case"),
            ("_name:text", "lower case"),
            ("naïve:text", "lower case"),
            (":text", "lower case"),
            ("type:text", "word of Rust"),
            ("order:integer", "word of SQL"),
            ("created_at:timestamp", "something of this name"),
            ("owner:account", "is not needed"),
            ("a_name_that_is_very_very_long:text", "25"),
        ] {
            let error = Field::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let twice = ["a:text", "b:text", "a:uuid"].map(str::to_owned);
        let error = Field::parse_all(&twice).unwrap_err().to_string();
        assert!(error.contains("`a` is there twice"), "{error}");
    }
}
