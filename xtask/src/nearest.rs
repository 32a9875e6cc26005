//! A word that nobody knows is answered with the one that was probably meant.
//!
//! clap does this for options; this is for verbs, where its line of 0.7 would answer `prune` with
//! `rename`, and for words that only the stack knows.

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// How alike two words must be, from 0 to 1.
const ALIKE: f64 = 0.8;

/// What other tools call it, and what it is called here.
const SYNONYMS: [(&str, &str); 11] = [
    ("stop", "down"),
    ("prune", "down --volumes"),
    ("status", "ps"),
    ("start", "up"),
    ("setup", "up"),
    ("run", "up"),
    ("watch", "dev"),
    ("shell", "exec"),
    ("lint", "check"),
    ("fmt", "check"),
    ("seed", "db seed"),
];

/// The known word that is most like this one, if any is like it at all.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known
        .iter()
        .map(|known| (strsim::jaro(word, known), *known))
        .filter(|(score, _)| *score > ALIKE);
    scored
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// What clap says about a verb that is not there, with the one that was probably meant.
pub(crate) fn with_verb(mut error: Error, all: &Command, typed: &[String]) -> Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    // `db bakup`: among the verbs of db.
    let before = typed.iter().take_while(|typed| *typed != word);
    let parent = before.fold(all, |all, word| all.find_subcommand(word).unwrap_or(all));
    let verbs = parent.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut known: Vec<&str> = verbs.map(Command::get_name).collect();
    if std::ptr::eq(parent, all) {
        known.extend(SYNONYMS.map(|(word, _)| word));
    }
    let meant = nearest(word, &known).map(|known| {
        let synonym = SYNONYMS.iter().find(|(word, _)| *word == known);
        synonym.map_or(known, |(_, verb)| verb).to_owned()
    });
    match meant {
        Some(verb) => error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(vec![verb]),
        ),
        None => error.remove(ContextKind::SuggestedSubcommand),
    };
    error
}

/// What to say about a service that is not there.
pub(crate) fn unknown_service(word: &str, known: &[&str]) -> String {
    unknown("no service", word, known)
}

/// What to say about any word: `no service` and the word, what was probably meant, what there is.
pub(crate) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let meant =
        nearest(word, known).map_or(String::new(), |known| format!("; did you mean `{known}`?"));
    format!(
        "{what} `{word}`{meant}\n  next: name one of {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["api", "worker", "postgres", "redis", "rename"];
        for (word, expected) in [
            ("wroker", Some("worker")),
            ("postgre", Some("postgres")),
            ("apis", Some("api")),
            ("radish", Some("redis")),
            ("kafka", None),
            ("prune", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
        assert_eq!(
            unknown_service("kafka", &["api", "worker"]),
            "no service `kafka`\n  next: name one of api, worker"
        );
    }

    #[test]
    fn a_verb_of_another_tool_is_answered_with_ours() {
        for (typed, expected) in [
            ("stop", Some("'down'")),
            ("statsu", Some("'ps'")),
            ("prune", Some("'down --volumes'")),
            ("shel", Some("'exec'")),
            ("pss", Some("'ps'")),
            ("openn", Some("'open'")),
            ("--verbose wtach", Some("'dev'")),
            ("db bakup", Some("'backup'")),
            ("db stop", None),
            ("xyzzy", None),
        ] {
            let words: Vec<String> = typed.split(' ').map(str::to_owned).collect();
            let all = ["xtask".to_owned()].into_iter().chain(words.clone());
            let Err(error) = Cli::try_parse_from(all) else {
                panic!("{typed} is a verb")
            };
            let said = with_verb(error, &Cli::command(), &words).to_string();
            let tip = said
                .lines()
                .find_map(|line| line.trim().strip_prefix("tip: "));
            let expected = expected.map(|verb| format!("a similar subcommand exists: {verb}"));
            assert_eq!(tip, expected.as_deref(), "{typed}");
        }
    }
}
