//! SQL as words: as much of Postgres' grammar as it takes to tell words from what only looks like
//! them. Pure.

/// A piece of SQL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Counted from 1.
    pub(super) line: usize,
}

/// What it is. Spaces and comments are nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A keyword or a name, in lower case, as Postgres reads it; a number as well.
    Word(String),
    /// A name in quotes, as it stands.
    Quoted(String),
    /// A text: '...', E'...', $tag$...$tag$. What is in it is nobody's statement.
    Text,
    /// Any other character.
    Sign(char),
}

/// The tokens of a file, in order. What is not closed goes to the end of the file.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let mut reader = Reader { rest: sql, line: 1 };
    let mut tokens = Vec::new();
    while let Some(next) = reader.rest.chars().next() {
        let line = reader.line;
        let kind = match next {
            c if c.is_whitespace() => {
                reader.skip(c.len_utf8());
                continue;
            }
            '-' if reader.rest.starts_with("--") => {
                reader.skip(reader.rest.find('\n').unwrap_or(reader.rest.len()));
                continue;
            }
            '/' if reader.rest.starts_with("/*") => {
                reader.skip(comment(reader.rest));
                continue;
            }
            '\'' => {
                reader.skip(1 + text(&reader.rest[1..], '\'', false));
                Kind::Text
            }
            '"' => {
                let end = text(&reader.rest[1..], '"', false);
                let name = reader.skip(1 + end);
                Kind::Quoted(name.trim_matches('"').replace("\"\"", "\""))
            }
            '$' => match dollar_quoted(reader.rest) {
                Some(length) => {
                    reader.skip(length);
                    Kind::Text
                }
                None => Kind::Sign(reader.sign('$')),
            },
            c if is_of_word(c) => {
                let length = reader
                    .rest
                    .find(|c| !is_of_word(c) && c != '$')
                    .unwrap_or(reader.rest.len());
                let word = &reader.rest[..length];
                let is_escaped = word.eq_ignore_ascii_case("e");
                // E'..', B'..', X'..', U&'..'
                let quote = if word.eq_ignore_ascii_case("u") {
                    "&'"
                } else {
                    "'"
                };
                let is_prefix = word.len() == 1 && reader.rest[length..].starts_with(quote);
                if is_prefix && "ebxnuEBXNU".contains(word) {
                    let start = length + quote.len();
                    reader.skip(start + text(&reader.rest[start..], '\'', is_escaped));
                    Kind::Text
                } else {
                    Kind::Word(reader.skip(length).to_lowercase())
                }
            }
            c => Kind::Sign(reader.sign(c)),
        };
        tokens.push(Token { kind, line });
    }
    tokens
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, length: usize) -> &'a str {
        let (skipped, rest) = self.rest.split_at(length);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
        skipped
    }

    fn sign(&mut self, sign: char) -> char {
        self.skip(sign.len_utf8());
        sign
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length up to and with the closing quote; a doubled one, or an escaped one, closes nothing.
fn text(rest: &str, quote: char, has_escapes: bool) -> usize {
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if has_escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_none_or(|(_, next)| *next != quote) {
                return at + c.len_utf8();
            }
            chars.next();
        }
    }
    rest.len()
}

/// Length of a comment, which may hold others.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of `$tag$...$tag$`; None for a lone dollar.
fn dollar_quoted(rest: &str) -> Option<usize> {
    let tag_end = 1 + rest[1..].find('$')?;
    let tag = &rest[..=tag_end];
    let is_tag = tag[1..tag_end].chars().all(is_of_word)
        && !tag[1..].starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return None;
    }
    let body = &rest[tag.len()..];
    Some(
        body.find(tag)
            .map_or(rest.len(), |end| tag.len() + end + tag.len()),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(sql: &str) -> String {
        let word = |token: Token| match token.kind {
            Kind::Word(word) => word,
            Kind::Quoted(name) => format!("\"{name}\""),
            Kind::Text => "TEXT".to_owned(),
            Kind::Sign(sign) => sign.to_string(),
        };
        tokens(sql)
            .into_iter()
            .map(word)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn what_only_looks_like_a_word_is_none() {
        for (sql, expected) in [
            ("DROP  Table\n a;", "drop table a ;"),
            ("a -- DROP TABLE b;\nc", "a c"),
            ("a /* DROP /* nested */ TABLE */ b", "a b"),
            ("'DROP; ''TABLE''' b", "TEXT b"),
            (r"E'it\'s; DROP' b", "TEXT b"),
            (r"'no escape\' b", "TEXT b"),
            ("U&'d' x'1f'", "TEXT TEXT"),
            ("$$ DROP; $$ b $x$ $$ ; $x$ c", "TEXT b TEXT c"),
            ("$1 a$b", "$ 1 a$b"),
            (r#""Weird ""name;" b"#, r#""Weird "name;" b"#),
            ("s.t(a,b)", "s . t ( a , b )"),
            ("'open DROP TABLE", "TEXT"),
            ("/* open", ""),
            ("", ""),
        ] {
            assert_eq!(shown(sql), expected, "{sql}");
        }
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let lines: Vec<usize> = tokens("a\n/* \n */ b '\n' c $$\n$$ d -- x\ne")
            .iter()
            .map(|token| token.line)
            .collect();
        assert_eq!(lines, [1, 3, 3, 4, 4, 5, 6]);
    }

    proptest! {
        #[test]
        fn anything_can_be_read(sql in r#"([-/*'"$aEeU&\\;\n é]|DROP|\PC){0,40}"#) {
            let lines = sql.matches('\n').count() + 1;
            prop_assert!(tokens(&sql).iter().all(|token| token.line <= lines));
        }
    }
}
