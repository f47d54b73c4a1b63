//! The words given to the kernel when it is started, in Linux' terms: bootparam(7).

use alloc::vec::Vec;

/// What the words said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandLine<'a> {
    /// `init=` or `rdinit=`: the program to begin with, in place of the usual ones.
    pub init: Option<&'a str>,
    /// What init is given as arguments: everything after `--`, and words the kernel does not know.
    pub arguments: Vec<&'a str>,
    /// What init is given as environment: settings `k=v` the kernel does not know.
    pub environment: Vec<&'a str>,
    /// `clock=`: `virtual` or `virtual,vdso` for virtual time; what it says is for whoever keeps the time.
    pub clock: Option<&'a str>,
    /// `norandmaps`: programs' parts are not moved by chance.
    pub fixed_addresses: bool,
    /// Messages of a lower level than this are shown: 4 warnings, 5 notices, 7 informational ones.
    pub log_level: u32,
}

/// `loglevel=` when it is not given, and with `quiet`.
const USUAL_LOG_LEVEL: u32 = 7;
const QUIET_LOG_LEVEL: u32 = 4;

/// Settings that have a meaning on other kernels or machines, and are none of init's business.
const IGNORED_SETTINGS: &[&str] =
    &["console", "earlyprintk", "panic", "root", "rootfstype", "tsc", "BOOT_IMAGE"];
/// The same for single words.
const IGNORED_WORDS: &[&str] = &["ro", "rw", "debug", "nokaslr", "earlyprintk"];

impl<'a> CommandLine<'a> {
    /// Reads the words. Whatever they are, something sensible comes out.
    pub fn parse(text: &'a str) -> Self {
        let mut line = Self {
            init: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            clock: None,
            fixed_addresses: false,
            log_level: USUAL_LOG_LEVEL,
        };
        let mut words = Words(text);
        while let Some(word) = words.next() {
            if word == "--" {
                line.arguments.extend(words);
                break;
            }
            line.take(word);
        }
        line
    }

    fn take(&mut self, word: &'a str) {
        match word.split_once('=') {
            Some(("init" | "rdinit", path)) => self.init = Some(unquoted(path)),
            Some(("clock", source)) => self.clock = Some(source),
            Some(("loglevel", level)) => self.log_level = level.parse().unwrap_or(USUAL_LOG_LEVEL),
            Some((key, _)) if IGNORED_SETTINGS.contains(&key) => {}
            Some(_) => self.environment.push(word),
            None if word == "quiet" => self.log_level = QUIET_LOG_LEVEL,
            None if word == "norandmaps" => self.fixed_addresses = true,
            None if IGNORED_WORDS.contains(&word) => {}
            None => self.arguments.push(word),
        }
    }
}

/// The words of a text, where spaces between double quotes do not separate. Quotes around a whole word are taken off.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let mut quoted = false;
        let end = text.find(|character: char| {
            quoted ^= character == '"';
            character.is_whitespace() && !quoted
        });
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        self.0 = rest;
        (!word.is_empty()).then(|| unquoted(word))
    }
}

fn unquoted(word: &str) -> &str {
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn words_go_where_linux_puts_them() {
        let line = CommandLine::parse(
            "console=ttyS0 rdinit=/bin/x clock=virtual a=1 norandmaps single quiet b=\"2 3\" -- one \"two three\" c=4 --",
        );
        assert_eq!((line.init, line.clock), (Some("/bin/x"), Some("virtual")));
        assert_eq!(line.environment, vec!["a=1", "b=\"2 3\""]);
        assert_eq!(line.arguments, vec!["single", "one", "two three", "c=4", "--"]);
        assert_eq!((line.log_level, line.fixed_addresses), (4, true));
    }

    #[test]
    fn an_empty_line_means_the_usual() {
        let line = CommandLine::parse("  ");
        assert_eq!((line.init, line.log_level, line.arguments.len()), (None, 7, 0));
        assert_eq!(CommandLine::parse("loglevel=x init=\"/a b\"").init, Some("/a b"));
    }
}
