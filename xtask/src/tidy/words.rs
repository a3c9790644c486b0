//! Banned words: the repository uses the field's standard terms, and the words they replaced must not come back.
//!
//! Every word of every text counts: comments, documents, log messages and identifiers, which are split into their words
//! (`HeldBack`, `held_back` and "held back" are the same). A phrase may be broken over lines, but not by punctuation.

use std::collections::HashMap;

/// Words and phrases in lower case, and what to write instead. A phrase with `_` only matches within an identifier.
const BANNED: &[(&[&str], &str)] = &[
    (
        &["told", "tell", "tells", "telling", "untold"],
        "notify (people, tasks), send (messages), return (values), distinguish (from each other), state (facts)",
    ),
    (&["said", "unsaid", "saying"], "sent, stated, named; deferred for what was not sent"),
    (&["hear", "hears", "heard", "hearing"], "receive, be notified"),
    (
        &["somebody", "nobody", "anybody", "everybody", "whoever", "whomever"],
        "a caller, the receiver, another node, anyone, no one, all; or name who it is",
    ),
    (&["so many", "so often", "so late"], "a number: N, at most `limit`, every `interval`"),
    (&["let go", "lets go", "letting go", "let_through"], "release, released; wait_for_capacity"),
    (&["come up", "comes up", "coming up", "came up"], "become due, is due"),
    (&["take up", "takes up", "taking up", "taken up", "took up"], "claim, reclaim, load, start; use (of space)"),
    (&["take_in", "take_on", "take_over", "take_back"], "ingest, apply, revert, recover; name the operation"),
    (
        &["hand over", "hands over", "handing over", "handed over"],
        "enqueue, pass, return; handover (noun) between threads or nodes",
    ),
    (
        &["way of an event", "way of the event", "way of a check", "bare way"],
        "event pipeline, check pipeline; baseline",
    ),
    (&["door", "doors"], "inbound webhook; HTTP API"),
    (&["lane", "lanes"], "channel queue"),
    (&["room", "rooms"], "capacity, space, limit; module, crate"),
    (&["house", "houses", "shed", "sheds"], "repository, project; fixture"),
    (&["roster", "timetable", "watchman", "keeper"], "endpoint source, schedule table, engine source, timer loop"),
    (&["stands", "standing", "standings"], "is, exists; state, quota"),
    (&["walk", "walks", "walked", "walking"], "evaluate (gates), scan (tables), traverse (trees), iterate"),
    (&["look at", "looks at", "looked at", "looking at"], "probe, poll, evaluate, inspect, check"),
    (&["glance", "glances"], "preview"),
    (&["occasion", "occasions"], "sequence (n-th notification of an event)"),
    (&["outlooks"], "deliveries (of a simulation)"),
    (
        &["late of", "after delivery id", "open total", "url once"],
        "replacesDeliveryId, blockedByDeliveryId, ongoingTotal, url",
    ),
    (&["reference looks", "check turns"], "reference_probes, probe_runs"),
    (&["crates watch", "tidings watcher", "tidings floor"], "tidings-monitor, probe-bench, tidings-baseline"),
];

/// Exceptions: file, phrase (`*` for all) and the reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("xtask/src/tidy/words.rs", "*", "this table and its tests"),
    ("crates/domain/src/message/incident_text.rs", "nobody", "a message to people"),
    ("crates/domain/src/message/incident_text/tests.rs", "nobody", "tests the message to people"),
    ("crates/channels/tests/email/main.rs", "nobody", "a mail address"),
    ("docs/GLOSSARY.md", "*", "quotes the words that its terms replaced"),
];

/// Checks texts one after the other.
pub struct Checker {
    /// Phrases by their first word.
    phrases: HashMap<String, Vec<Phrase>>,
    /// Which of [`ALLOWED`] were used, if their file was checked.
    is_used: [Option<bool>; ALLOWED.len()],
    findings: Vec<String>,
}

struct Phrase {
    words: Vec<String>,
    text: &'static str,
    is_identifier: bool,
    instead: &'static str,
}

impl Checker {
    /// Prepares the phrases.
    pub fn new() -> Self {
        let mut phrases: HashMap<String, Vec<Phrase>> = HashMap::new();
        for (texts, instead) in BANNED {
            for text in *texts {
                let words: Vec<String> = text.split([' ', '_']).map(str::to_owned).collect();
                let is_identifier = text.contains('_');
                phrases.entry(words[0].clone()).or_default().push(Phrase { words, text, is_identifier, instead });
            }
        }
        Self { phrases, is_used: [None; ALLOWED.len()], findings: Vec::new() }
    }

    /// Checks a file.
    pub fn check(&mut self, path: &str, text: &str) {
        for (used, _) in self.is_used.iter_mut().zip(ALLOWED).filter(|(_, (file, ..))| *file == path) {
            *used = Some(false);
        }
        let words = words(text);
        for start in 0..words.len() {
            for phrase in self.phrases.get(&words[start].text).into_iter().flatten() {
                if !phrase.is_at(&words[start..]) {
                    continue;
                }
                let allowed = |(file, allowed, _): &(&str, &str, &str)| {
                    *file == path && (*allowed == "*" || *allowed == phrase.text)
                };
                match ALLOWED.iter().position(allowed) {
                    Some(index) => self.is_used[index] = Some(true),
                    None => {
                        let (line, instead) = (words[start].line, phrase.instead);
                        self.findings.push(format!("{path}:{line}: banned word `{}`; use: {instead}", phrase.text));
                    }
                }
            }
        }
    }

    /// All findings, exceptions that are no longer needed included.
    pub fn finish(mut self) -> Vec<String> {
        for ((file, phrase, _), used) in ALLOWED.iter().zip(self.is_used) {
            if used == Some(false) {
                self.findings.push(format!("{file}: the exception for `{phrase}` in {} is not needed", file!()));
            }
        }
        self.findings
    }
}

impl Phrase {
    fn is_at(&self, words: &[Word]) -> bool {
        let is_joined = |word: &Word| if self.is_identifier { word.is_same_identifier } else { word.is_adjacent };
        words.len() >= self.words.len()
            && self.words.iter().zip(words).all(|(expected, word)| *expected == word.text)
            && words[1..self.words.len()].iter().all(is_joined)
            // "takes up to two seconds" is fine.
            && !(self.text.ends_with(" up") && words.get(self.words.len()).is_some_and(|next| next.text == "to"))
    }
}

/// A word of a text, in lower case.
struct Word {
    text: String,
    line: usize,
    /// Only spaces, line breaks, comment markers or hyphens are between it and the previous word.
    is_adjacent: bool,
    /// It is part of the same identifier as the previous word.
    is_same_identifier: bool,
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut line, mut is_adjacent, mut is_same_identifier, mut is_inside) = (1, false, false, false);
    let mut chars = text.chars().peekable();
    let mut previous = ' ';
    while let Some(c) = chars.next() {
        if c.is_alphabetic() {
            let next_is_lower = chars.peek().is_some_and(|next| next.is_lowercase());
            // `heldBack` and `HTTPServer` are two words each.
            let is_boundary =
                c.is_uppercase() && (previous.is_lowercase() || (previous.is_uppercase() && next_is_lower));
            if is_inside && is_boundary {
                (is_inside, is_adjacent, is_same_identifier) = (false, true, true);
            }
            if !is_inside {
                words.push(Word { text: String::new(), line, is_adjacent, is_same_identifier });
                is_inside = true;
            }
            words.last_mut().into_iter().for_each(|word| word.text.extend(c.to_lowercase()));
        } else {
            if is_inside {
                (is_inside, is_adjacent, is_same_identifier) = (false, true, true);
            }
            is_adjacent &= matches!(c, ' ' | '\t' | '\r' | '\n' | '/' | '!' | '*' | '-' | '_');
            is_same_identifier &= c == '_';
            line += usize::from(c == '\n');
        }
        previous = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let mut checker = Checker::new();
        checker.check("a.rs", text);
        checker.finish()
    }

    #[test]
    fn check_finds_words_in_prose_and_identifiers() {
        for text in ["is told", "is_told", "isTold", "ToldOnce", "TOLD", "struct Told;", "`told`"] {
            let found = findings(text);
            assert!(found.len() == 1 && found[0].starts_with("a.rs:1: banned word `told`; use: notify"), "{found:?}");
        }
        for text in ["toldo", "retold", "stole", "untol d", "tolD", ""] {
            assert!(findings(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn check_finds_phrases_over_lines_but_not_over_punctuation() {
        for text in ["so many", "/// at most so\n    /// many of them", "so-many", "SoMany", "so_many", "So many"] {
            assert_eq!(findings(text).len(), 1, "{text:?}");
        }
        for text in ["so. Many", "so (many)", "so, many", "so few many", "so 2 many"] {
            assert!(findings(text).is_empty(), "{text:?}");
        }
        let found = findings("one\ntwo\nis looked\n//! at by");
        assert!(found.len() == 1 && found[0].starts_with("a.rs:3: banned word `looked at`"), "{found:?}");
    }

    #[test]
    fn check_identifier_phrases_do_not_match_prose() {
        assert_eq!(findings("self.take_in(x)").len(), 1);
        assert!(findings("steps that take in total a second").is_empty());
        assert!(findings("it takes up to a second").is_empty());
    }

    #[test]
    fn finish_reports_exceptions_that_are_not_needed() {
        let mut checker = Checker::new();
        checker.check("docs/GLOSSARY.md", "was: told");
        assert!(checker.finish().is_empty());
        let mut checker = Checker::new();
        checker.check("docs/GLOSSARY.md", "nothing of the kind");
        let found = checker.finish();
        assert!(found.len() == 1 && found[0].contains("is not needed"), "{found:?}");
    }

    #[test]
    fn table_is_lower_case_and_without_duplicates() {
        let phrases: Vec<_> = BANNED.iter().flat_map(|(phrases, _)| *phrases).collect();
        let distinct: std::collections::BTreeSet<_> = phrases.iter().collect();
        assert_eq!(phrases.len(), distinct.len());
        assert!(phrases.iter().all(|phrase| phrase.bytes().all(|b| b.is_ascii_lowercase() || b == b' ' || b == b'_')));
    }
}
