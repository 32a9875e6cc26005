//! Templates: code about widgets, in which the names are replaced.
//!
//! `Widget`, `widget`, `widgets` and `/v1/widgets` are the resource's names as code has them,
//! `{Things}`, `{a thing}` and their like as sentences do, `FIELD` and its like are a field's.
//! Between `//# each` and `//# end` stands what comes once for each field (`//# each text`: of this
//! type), between `//# if text` and `//# end` what comes when there is such a field at all.

use super::field::{Field, Kind};
use super::names::{Names, capital};

/// Longer lines of SQL are broken: `rustfmt` does not look into texts.
const LONGEST: usize = 100;

/// The template with everything in its place. Not formatted yet.
pub(super) fn fill(template: &str, names: &Names, fields: &[Field]) -> String {
    let everywhere = everywhere(names, fields);
    let mut text = String::new();
    let mut lines = template.lines();
    while let Some(line) = lines.next() {
        let Some(word) = directive(line) else {
            push(&mut text, line, &[&everywhere]);
            continue;
        };
        let block: Vec<&str> = lines
            .by_ref()
            .take_while(|line| directive(line) != Some("end"))
            .collect();
        let (what, kind) = word.split_once(' ').unwrap_or((word, ""));
        let chosen = || {
            let all = fields.iter().enumerate();
            all.filter(|(_, field)| kind.is_empty() || Kind::from_name(kind) == Some(field.kind))
        };
        let times = match what {
            "each" => chosen().collect(),
            _ => chosen().take(1).collect::<Vec<_>>(),
        };
        for (index, field) in times {
            let own = field.replacements(index);
            for line in &block {
                push(&mut text, line, &[&own, &everywhere]);
            }
        }
    }
    text
}

/// The words behind `//#` or `--#`, if the line is a directive.
fn directive(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = line.strip_prefix("//# ").or(line.strip_prefix("--# "))?;
    Some(rest)
}

fn everywhere(names: &Names, fields: &[Field]) -> Vec<(&'static str, String)> {
    let list = |item: &dyn Fn(usize, &Field) -> String| {
        let items: Vec<String> = fields
            .iter()
            .enumerate()
            .map(|(index, field)| item(index, field))
            .collect();
        items.join(", ")
    };
    let distinct = |item: &dyn Fn(Kind) -> Option<&'static str>| {
        let mut items: Vec<&str> = fields.iter().filter_map(|field| item(field.kind)).collect();
        items.sort_unstable();
        items.dedup();
        items.join(", ")
    };
    // A longer one first where one begins another.
    vec![
        ("/v1/widgets", format!("/v1/{}", names.path())),
        ("Widget", names.type_name()),
        ("widgets", names.plural.clone()),
        ("widget", names.singular.clone()),
        ("{Things}", names.capital_things()),
        ("{things}", names.things()),
        ("{A thing}", capital(&names.a_thing())),
        ("{a thing}", names.a_thing()),
        ("{thing}", names.thing()),
        ("{columns}", list(&|_, field| field.name.clone())),
        ("{values}", list(&|index, _| format!("${}", index + 3))),
        ("PARSERS", distinct(&Kind::parser)),
        ("READERS", distinct(&Kind::reader)),
    ]
}

/// Adds the line with its placeholders replaced, in one walk: what was put in is not read again.
/// A line of which nothing is left goes.
fn push(text: &mut String, line: &str, replacements: &[&Vec<(&'static str, String)>]) {
    let mut filled = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let mut all = replacements.iter().flat_map(|list| list.iter());
        let found = all.find(|(placeholder, _)| rest.starts_with(placeholder));
        let length = match found {
            Some((placeholder, value)) => {
                filled.push_str(value);
                placeholder.len()
            }
            None => {
                filled.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    if filled.trim().is_empty() && !line.trim().is_empty() {
        return;
    }
    for line in broken(&filled) {
        text.push_str(&line);
        text.push('\n');
    }
}

/// A line of SQL as several where it is too long, broken between two items of its list.
fn broken(line: &str) -> Vec<String> {
    let start = line.trim_start().trim_start_matches('"');
    let is_sql = ["INSERT ", "SELECT ", "RETURNING "]
        .iter()
        .any(|word| start.starts_with(word));
    if !is_sql {
        return vec![line.to_owned()];
    }
    let indent = " ".repeat(line.len() - line.trim_start().len() + 4);
    let mut lines = Vec::new();
    let mut rest = line.to_owned();
    while rest.len() > LONGEST
        && let Some(comma) = rest[..LONGEST].rfind(", ")
        && comma > indent.len()
    {
        let next = format!("{indent}{}", &rest[comma + 2..]);
        rest.truncate(comma + 1);
        lines.push(std::mem::replace(&mut rest, next));
    }
    lines.push(rest);
    lines
}

/// SQL whose columns stand below each other, and whose last one has no comma.
pub(super) fn aligned(sql: &str) -> String {
    let column = |line: &str| -> Option<(String, String, String)> {
        let line = line.strip_prefix("    ")?;
        let plain = line.starts_with(|c: char| c.is_ascii_lowercase());
        let (name, rest) = line.split_once(' ').filter(|_| plain)?;
        let (kind, rest) = rest.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned(), rest.to_owned()))
    };
    let columns: Vec<_> = sql.lines().filter_map(column).collect();
    let width = |of: fn(&(String, String, String)) -> usize| columns.iter().map(of).max();
    let names = width(|(name, ..)| name.len()).unwrap_or(0);
    let kinds = width(|(_, kind, _)| kind.len()).unwrap_or(0);
    let mut text = String::new();
    for line in sql.lines() {
        match column(line) {
            Some((name, kind, rest)) => {
                text.push_str(&format!("    {name:names$} {kind:kinds$} {rest}"));
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text.replace(",\n);", "\n);")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> String {
        let names = Names::resource("order_line", None).unwrap();
        let fields = ["text_of_it:text", "amount:integer"].map(|text| Field::parse(text).unwrap());
        fill(template, &names, &fields)
    }

    #[test]
    fn names_are_replaced_in_code_paths_and_sentences() {
        assert_eq!(
            filled("/// {A thing} at /v1/widgets: NewWidget in widgets::create, not `widget`.\n"),
            "/// An order line at /v1/order-lines: NewOrderLine in order_lines::create, not \
             `order_line`.\n"
        );
    }

    #[test]
    fn what_was_put_in_is_not_read_again() {
        let names = Names::resource("widget_part", None).unwrap();
        assert_eq!(
            fill("widgets Widget", &names, &[]),
            "widget_parts WidgetPart\n"
        );
    }

    #[test]
    fn blocks_come_for_each_field_or_for_a_kind() {
        let template = "//# each\nFIELD,\n//# end\n//# each text\n--FIELD\n//# end\n\
                        //# if integer\nhas\n//# end\n//# if uuid\nhas not\n//# end\nend\n";
        assert_eq!(
            filled(template),
            "text_of_it,\namount,\n--text_of_it\nhas\nend\n"
        );
    }

    #[test]
    fn a_long_list_is_broken_between_items() {
        let columns: Vec<String> = (10..40).map(|n| format!("column_{n}")).collect();
        let line = format!("        \"SELECT {} FROM t", columns.join(", "));
        let lines = broken(&line);
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= LONGEST));
        let joined: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        assert_eq!(joined.join(" "), line.trim());
    }

    #[test]
    fn columns_stand_below_each_other() {
        let sql = "CREATE TABLE t (\n    -- What it is.\n    id uuid PRIMARY KEY,\n    \
                   created_at timestamptz NOT NULL,\n);\n";
        assert_eq!(
            aligned(sql),
            "CREATE TABLE t (\n    -- What it is.\n    id         uuid        PRIMARY KEY,\n    \
             created_at timestamptz NOT NULL\n);\n"
        );
    }
}
