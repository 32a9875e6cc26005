//! A word that nobody knows is answered with the one that was probably meant.
//!
//! clap does this for verbs and their options; this is for words that only the stack knows.

/// How alike two words must be, from 0 to 1. clap draws its line at 0.7 too.
const ALIKE: f64 = 0.7;

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
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["api", "worker", "postgres", "redis"];
        for (word, expected) in [
            ("wroker", Some("worker")),
            ("postgre", Some("postgres")),
            ("apis", Some("api")),
            ("radish", Some("redis")),
            ("kafka", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
        assert_eq!(
            unknown_service("kafka", &["api", "worker"]),
            "no service `kafka`\n  next: name one of api, worker"
        );
    }
}
