//! Options in getopt_long(3)'s manner, from a table: clusters of short ones, `--long`, `--long=value`, abbreviations,
//! and the same sentences for mistakes.
//!
//! The C library's getopt_long is not used because its table of raw pointers and its global state fit Rust badly;
//! a crate for command lines would not print util-linux's words, which scripts and people know.

use crate::complain;
use std::ffi::{OsStr, OsString};

/// Whether an option takes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// `--fork`
    None,
    /// `--target PID` or `--target=PID`
    Required,
    /// `--time` or `--time=FILE`, never `--time FILE`
    Optional,
}

/// One row of a program's option table. `key` is what the program gets back.
pub struct Opt<Key> {
    /// The letter after one dash, if there is one.
    pub short: Option<char>,
    /// The word after two dashes.
    pub long: &'static str,
    /// Whether a value belongs to it.
    pub value: Value,
    /// What the program calls it.
    pub key: Key,
}

/// What a command line holds: the options in order, then the program to run.
pub struct Parsed<Key> {
    /// Each option with its value.
    pub options: Vec<(Key, Option<String>)>,
    /// Everything from the first word that is no option.
    pub rest: Vec<OsString>,
}

/// Parses `arguments` (the program's own name first). On a mistake prints the sentence and gives None.
pub fn parse<Key: Copy>(program: &str, arguments: &[OsString], table: &[Opt<Key>]) -> Option<Parsed<Key>> {
    match parse_quietly(arguments, table) {
        Ok(parsed) => Some(parsed),
        Err(mistake) => {
            complain!("{program}: {mistake}\nTry '{program} --help' for more information.");
            None
        }
    }
}

fn parse_quietly<Key: Copy>(arguments: &[OsString], table: &[Opt<Key>]) -> Result<Parsed<Key>, String> {
    let mut options = Vec::new();
    let mut words = arguments.iter().skip(1).peekable();
    while let Some(word) = words.peek() {
        let text = word.to_string_lossy().into_owned();
        if text == "--" {
            words.next();
            break;
        }
        if let Some(long) = text.strip_prefix("--") {
            words.next();
            let (name, attached) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (long, None),
            };
            let option = find_long(name, table)?;
            let value = match (option.value, attached) {
                (Value::None, Some(_)) => {
                    return Err(format!("option '--{}' doesn't allow an argument", option.long));
                }
                (Value::Required, None) => Some(
                    words
                        .next()
                        .map(lossy)
                        .ok_or_else(|| format!("option '--{}' requires an argument", option.long))?,
                ),
                (_, attached) => attached,
            };
            options.push((option.key, value));
        } else if text.len() > 1 && text.starts_with('-') {
            words.next();
            let mut letters = text[1..].chars();
            while let Some(letter) = letters.next() {
                let option = table
                    .iter()
                    .find(|option| option.short == Some(letter))
                    .ok_or_else(|| format!("invalid option -- '{letter}'"))?;
                let attached = letters.as_str();
                let value = match option.value {
                    Value::None => None,
                    Value::Optional | Value::Required if !attached.is_empty() => {
                        // `-t=5` is not getopt's way, but `-T=FILE` is what its help text suggests to many.
                        let value = attached.strip_prefix('=').unwrap_or(attached).to_string();
                        letters = "".chars();
                        Some(value)
                    }
                    Value::Optional => None,
                    Value::Required => Some(
                        words
                            .next()
                            .map(lossy)
                            .ok_or_else(|| format!("option requires an argument -- '{letter}'"))?,
                    ),
                };
                options.push((option.key, value));
            }
        } else {
            break;
        }
    }
    Ok(Parsed { options, rest: words.cloned().collect() })
}

fn lossy(word: &OsString) -> String {
    OsStr::to_string_lossy(word).into_owned()
}

/// The option named exactly so, or the only one that begins so.
fn find_long<'table, Key>(name: &str, table: &'table [Opt<Key>]) -> Result<&'table Opt<Key>, String> {
    if let Some(option) = table.iter().find(|option| option.long == name) {
        return Ok(option);
    }
    let mut candidates = table.iter().filter(|option| option.long.starts_with(name) && !name.is_empty());
    match (candidates.next(), candidates.next()) {
        (Some(option), None) => Ok(option),
        (Some(_), Some(_)) => {
            let all = table.iter().filter(|option| option.long.starts_with(name));
            let all: Vec<String> = all.map(|option| format!("'--{}'", option.long)).collect();
            Err(format!("option '--{name}' is ambiguous; possibilities: {}", all.join(" ")))
        }
        (None, _) => Err(format!("unrecognized option '--{name}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Opt<u8>] = &[
        Opt { short: Some('T'), long: "time", value: Value::Optional, key: b'T' },
        Opt { short: Some('t'), long: "target", value: Value::Required, key: b't' },
        Opt { short: Some('f'), long: "fork", value: Value::None, key: b'f' },
    ];

    fn parsed(words: &[&str]) -> Result<Parsed<u8>, String> {
        let words: Vec<OsString> = ["program"].iter().chain(words).map(OsString::from).collect();
        parse_quietly(&words, TABLE)
    }

    #[test]
    fn clusters_values_and_the_first_other_word() {
        let Ok(Parsed { options, rest }) = parsed(&["-Tf", "-t5", "--target", "6", "--time=a", "x", "-f"])
        else {
            panic!("a good command line was refused")
        };
        // A value may be optional and attached, so `-Tf` is --time with the value "f".
        assert_eq!(options[0], (b'T', Some("f".into())));
        assert_eq!(options[1], (b't', Some("5".into())));
        assert_eq!(options[2], (b't', Some("6".into())));
        assert_eq!(options[3], (b'T', Some("a".into())));
        assert_eq!(rest, ["x", "-f"]);
    }

    #[test]
    fn mistakes_have_getopts_sentences() {
        assert_eq!(parsed(&["--bad"]).err(), Some("unrecognized option '--bad'".into()));
        assert_eq!(
            parsed(&["--t"]).err(),
            Some("option '--t' is ambiguous; possibilities: '--time' '--target'".into())
        );
        assert_eq!(parsed(&["-x"]).err(), Some("invalid option -- 'x'".into()));
        assert_eq!(parsed(&["-t"]).err(), Some("option requires an argument -- 't'".into()));
        assert_eq!(parsed(&["--fork=1"]).err(), Some("option '--fork' doesn't allow an argument".into()));
    }
}
