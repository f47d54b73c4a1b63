//! Words that may stand only in certain files: `unsafe`, the names of the machines, the vDSO's crate, and some nowhere.
//!
//! A lint can forbid `unsafe` in a crate and a module can allow it again; what no lint does is hold the whole list of
//! places in one table, where a new place must be argued for.

use super::Source;
use proc_macro2::{TokenStream, TokenTree};

/// A rule: these words, only in these places.
pub struct Rule {
    /// Identifiers that stand next to each other, as `["static", "mut"]`.
    pub words: &'static [&'static str],
    /// Files, or folders with a slash at their end, where they may stand.
    pub places: &'static [&'static str],
    /// Why, for the complaint.
    pub reason: &'static str,
}

/// One line for each place that breaks a rule.
pub fn complaints(rules: &[Rule], sources: &[Source]) -> Vec<String> {
    let mut all = Vec::new();
    for source in sources {
        let mut words = Vec::new();
        flatten(&source.tokens, &mut words);
        for rule in rules.iter().filter(|rule| !rule.allows(&source.path)) {
            for window in words.windows(rule.words.len()) {
                if window.iter().map(|(word, _)| word.as_str()).eq(rule.words.iter().copied()) {
                    let (word, line) = (rule.words.join(" "), window[0].1);
                    all.push(format!("{}:{line}: `{word}`: {}", source.path, rule.reason));
                }
            }
        }
    }
    all
}

impl Rule {
    fn allows(&self, path: &str) -> bool {
        self.places.iter().any(|place| match place.strip_suffix('/') {
            Some(_) => path.starts_with(place),
            None => path == *place,
        })
    }
}

/// Places in the rules that do not exist or do not need their permission: a list nobody prunes is no list.
pub fn unused_places(rules: &[Rule], sources: &[Source]) -> Vec<String> {
    let mut unused = Vec::new();
    for rule in rules {
        for place in rule.places {
            let only = Rule { words: rule.words, places: &[], reason: rule.reason };
            let there = Rule { words: rule.words, places: std::slice::from_ref(place), reason: rule.reason };
            let needed = sources
                .iter()
                .filter(|source| there.allows(&source.path))
                .any(|source| !complaints(&[Rule { ..only }], std::slice::from_ref(source)).is_empty());
            if !needed {
                unused.push(format!("{place} is allowed to say `{}` and does not", rule.words.join(" ")));
            }
        }
    }
    unused
}

fn flatten(tokens: &TokenStream, words: &mut Vec<(String, usize)>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(name) => words.push((name.to_string(), name.span().start().line)),
            TokenTree::Group(group) => flatten(&group.stream(), words),
            // Between words, so that `static, mut` is not taken for `static mut`.
            TokenTree::Punct(punct) => words.push((punct.as_char().to_string(), punct.span().start().line)),
            TokenTree::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSAFE: Rule =
        Rule { words: &["unsafe"], places: &["arch/", "mm/user.rs"], reason: "elsewhere it is forbidden" };
    const STATIC_MUT: Rule = Rule { words: &["static", "mut"], places: &[], reason: "never" };

    fn complaint(path: &str, text: &str) -> String {
        complaints(&[UNSAFE, STATIC_MUT], &[Source::new(path, text).unwrap()]).join("\n")
    }

    #[test]
    fn a_word_in_the_wrong_place_is_found() {
        assert_eq!(
            complaint("fs/pipe.rs", "\nfn f() { unsafe { g() } }"),
            "fs/pipe.rs:2: `unsafe`: elsewhere it is forbidden"
        );
        assert!(!complaint("mm/users.rs", "unsafe impl Send for X {}").is_empty());
        assert!(!complaint("fs/pipe.rs", "macro_rules! m { () => { unsafe { x() } } }").is_empty());
        assert!(!complaint("arch/x.rs", "static mut X: u8 = 0;").is_empty());
    }

    #[test]
    fn in_its_place_and_in_comments_it_is_fine() {
        assert_eq!(complaint("arch/um/mod.rs", "unsafe fn f() {}"), "");
        assert_eq!(complaint("mm/user.rs", "unsafe fn f() {}"), "");
        assert_eq!(
            complaint(
                "fs/pipe.rs",
                "// unsafe\n/// unsafe\n#![deny(unsafe_code)]\nconst X: &str = \"unsafe\";"
            ),
            ""
        );
        assert_eq!(complaint("fs/pipe.rs", "static X: &'static u8 = &1; fn f(x: &mut u8) {}"), "");
    }

    #[test]
    fn a_permission_nobody_needs_is_found() {
        let quiet = Source::new("mm/user.rs", "fn f() {}").unwrap();
        assert_eq!(unused_places(&[UNSAFE], &[quiet]).len(), 2);
        let used = [
            Source::new("mm/user.rs", "unsafe fn f() {}").unwrap(),
            Source::new("arch/a.rs", "unsafe fn f() {}").unwrap(),
        ];
        assert!(unused_places(&[UNSAFE], &used).is_empty());
    }
}
