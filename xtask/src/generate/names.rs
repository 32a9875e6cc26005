//! Names: what can be one, and its forms in code, in paths and in sentences.

use anyhow::{Result, bail};

/// The longest name: with its table's it still fits into the 63 bytes of a name in Postgres.
const LONGEST: usize = 25;

/// Words that a Rust program cannot use as names (the reference's strict and reserved keywords).
const RUST: &str = "\
    abstract as async await become box break const continue crate do dyn else enum extern \
    false final fn for gen if impl in let loop macro match mod move mut override priv pub ref \
    return self static struct super trait true try type typeof unsafe unsized use virtual \
    where while yield";

/// Words that are no names of tables or columns (`SELECT word FROM pg_get_keywords() WHERE
/// catcode IN ('R', 'T')`).
const SQL: &str = "\
    all analyse analyze and any array as asc asymmetric authorization binary both case cast \
    check collate collation column concurrently constraint create cross current_catalog \
    current_date current_role current_schema current_time current_timestamp current_user \
    default deferrable desc distinct do else end except false fetch for foreign freeze from \
    full grant group having ilike in initially inner intersect into is isnull join lateral \
    leading left like limit localtime localtimestamp natural not notnull null offset on only \
    or order outer overlaps placing primary references returning right select session_user \
    similar some symmetric system_user table tablesample then to trailing true union unique \
    user using variadic verbose when where window with";

/// Types of other crates that stand in the generated files.
const TYPES: &str = "\
    Box Error HeaderName Json OffsetDateTime Option Result Rfc3339 State StatusCode String \
    Uuid Value Vec";

/// One name in its forms.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// `order_line`
    pub(super) singular: String,
    /// `order_lines`
    pub(super) plural: String,
}

impl Names {
    /// Of a resource, named in the singular.
    pub(super) fn resource(singular: &str, plural: Option<&str>) -> Result<Self> {
        check("resource", singular)?;
        let guessed = match plural {
            Some(plural) => plural.to_owned(),
            None if singular.ends_with('s') && !singular.ends_with("ss") => bail!(
                "a resource is named in the singular, and `{singular}` may be a plural\n  \
                 next: cargo xtask generate resource {} ..., or the same with --plural {singular}es",
                singular.trim_end_matches('s')
            ),
            None => plural_of(singular),
        };
        check("plural", &guessed)?;
        check_sql("plural", &guessed)?;
        if guessed == singular {
            bail!(
                "the plural has to differ from `{singular}`: a file holds one and many\n  \
                 next: give another one with --plural"
            );
        }
        let names = Self {
            singular: singular.to_owned(),
            plural: guessed,
        };
        names.check_type()?;
        Ok(names)
    }

    /// Of a job.
    pub(super) fn job(name: &str) -> Result<Self> {
        check("job", name)?;
        let names = Self {
            singular: name.to_owned(),
            plural: plural_of(name),
        };
        names.check_type()?;
        Ok(names)
    }

    fn check_type(&self) -> Result<()> {
        let name = self.type_name();
        if has(TYPES, &name) {
            bail!(
                "the type would be called `{name}`, as another that its files use\n  \
                 next: take a name that says more, such as {}_entry",
                self.singular
            );
        }
        Ok(())
    }

    /// `OrderLine`
    pub(super) fn type_name(&self) -> String {
        let words = self.singular.split('_');
        words.map(capital).collect()
    }

    /// `order-lines`
    pub(super) fn path(&self) -> String {
        self.plural.replace('_', "-")
    }

    /// `order line`
    pub(super) fn thing(&self) -> String {
        self.singular.replace('_', " ")
    }

    /// `order lines`, which is also the tag in the OpenAPI document.
    pub(super) fn things(&self) -> String {
        self.plural.replace('_', " ")
    }

    /// `Order lines`
    pub(super) fn capital_things(&self) -> String {
        capital(&self.things())
    }

    /// `an order line`
    pub(super) fn a_thing(&self) -> String {
        let article = if self.singular.starts_with(['a', 'e', 'i', 'o', 'u']) {
            "an"
        } else {
            "a"
        };
        format!("{article} {}", self.thing())
    }
}

/// Whether this can be the name of `what` in Rust.
pub(super) fn check(what: &str, name: &str) -> Result<()> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !starts || !plain || name.ends_with('_') || name.contains("__") {
        bail!(
            "`{name}` is no name for a {what}\n  next: use lower case, digits and single underscores, \
             like order_line"
        );
    }
    if name.len() > LONGEST {
        bail!(
            "`{name}` has {} characters, and a {what} has at most {LONGEST}\n  next: take a shorter name",
            name.len()
        );
    }
    if has(RUST, name) {
        bail!(
            "`{name}` is a word of Rust, and no name for a {what}\n  next: take another, like kind for type"
        );
    }
    Ok(())
}

/// Whether this can be the name of a table or a column as well.
pub(super) fn check_sql(what: &str, name: &str) -> Result<()> {
    if has(SQL, name) {
        bail!(
            "`{name}` is a word of SQL, and no name for a {what}\n  next: take another, like position for order"
        );
    }
    Ok(())
}

/// The text with a capital letter first.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// Whether Rust or SQL has this word for itself.
pub(crate) fn is_reserved(word: &str) -> bool {
    has(RUST, word) || has(SQL, word)
}

fn has(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one == word)
}

/// The plural as English has it, where it is regular.
fn plural_of(singular: &str) -> String {
    let vowel_before_y = ["ay", "ey", "oy", "uy"]
        .iter()
        .any(|end| singular.ends_with(end));
    if let Some(stem) = singular.strip_suffix('y').filter(|_| !vowel_before_y) {
        return format!("{stem}ies");
    }
    let hisses = ["s", "x", "z", "ch", "sh"]
        .iter()
        .any(|end| singular.ends_with(end));
    format!("{singular}{}", if hisses { "es" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_forms() {
        let names = Names::resource("order_line", None).unwrap();
        assert_eq!(names.type_name(), "OrderLine");
        assert_eq!(
            (names.path(), names.things()),
            ("order-lines".into(), "order lines".into())
        );
        assert_eq!(names.a_thing(), "an order line");
        for (singular, plural) in [
            ("project", "projects"),
            ("category", "categories"),
            ("day", "days"),
            ("box_of_tea", "box_of_teas"),
            ("address", "addresses"),
            ("batch", "batches"),
            ("order", "orders"),
            ("user", "users"),
        ] {
            assert_eq!(Names::resource(singular, None).unwrap().plural, plural);
        }
        let people = Names::resource("person", Some("people")).unwrap();
        assert_eq!(people.path(), "people");
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (name, why) in [
            ("Project", "lower case"),
            ("order-line", "lower case"),
            ("order__line", "single underscores"),
            ("../etc", "lower case"),
            ("", "lower case"),
            ("2nd", "lower case"),
            ("match", "word of Rust"),
            ("projects", "singular"),
            ("status", "--plural statuses"),
            ("a_name_that_is_long_too_long", "25"),
            ("value", "called `Value`"),
        ] {
            let error = Names::resource(name, None).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        let sheep = Names::resource("sheep", Some("sheep")).unwrap_err();
        assert!(sheep.to_string().contains("has to differ"), "{sheep}");
        let table = Names::resource("thing", Some("order")).unwrap_err();
        assert!(table.to_string().contains("word of SQL"), "{table}");
    }
}
