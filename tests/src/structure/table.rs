//! The table of system calls, and whether each of its rows was used by some program.
//!
//! A row nobody calls is a promise nobody checks. The rows come from the kernel's source and the counts from the kernel
//! itself, after everything has run on it; a row that is in one and not in the other is wrong as well.

use super::Source;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeMap;

/// Names of the rows in the source, in order: the second word of each line of `table! { NUMBER name …; … }`.
pub fn rows(source: &Source) -> Vec<String> {
    let tokens: Vec<TokenTree> = source.tokens.clone().into_iter().collect();
    let calls = tokens.windows(3).filter_map(|window| match window {
        [TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Group(group)] if name == "table" => {
            Some(group.stream())
        }
        _ => None,
    });
    calls.flat_map(names).collect()
}

fn names(lines: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = lines.into_iter().collect();
    let is_end = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';');
    let lines = tokens.split(is_end);
    lines
        .filter_map(|line| match line {
            [TokenTree::Literal(_), TokenTree::Ident(name), ..] => Some(name.to_string()),
            _ => None,
        })
        .collect()
}

/// One line for each row that was never called, or is not counted, or is counted and no row.
/// `counts` has lines of a name and a number.
pub fn complaints(rows: &[String], counts: &str) -> Vec<String> {
    let mut counted: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for line in counts.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(count)) = (words.next(), words.next()) {
            counted.insert(name, count.parse().ok());
        }
    }
    let mut all = Vec::new();
    for row in rows {
        match counted.remove(row.as_str()) {
            None => all.push(format!("{row}: the kernel does not count it")),
            Some(None) => all.push(format!("{row}: its count is no number")),
            Some(Some(0)) => all.push(format!("{row}: no program called it")),
            Some(Some(_)) => {}
        }
    }
    all.extend(counted.keys().map(|name| format!("{name}: counted, but it is in no row of the table")));
    if rows.is_empty() {
        all.push("the table has no rows".to_string());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        macro_rules! table { ($($number:literal $name:ident;)*) => {}; }
        table! {
            96 gettimeofday now clocks::gettimeofday, 2, "";
            272 unshare now namespaces::unshare, 1, "time; FS";
        }
    "#;

    fn table() -> Vec<String> {
        rows(&Source::new("syscall/table.rs", TABLE).unwrap())
    }

    #[test]
    fn the_rows_are_read() {
        assert_eq!(table(), ["gettimeofday", "unshare"]);
    }

    #[test]
    fn every_row_called_is_fine() {
        assert!(complaints(&table(), "gettimeofday 1\nunshare 22\n").is_empty());
    }

    #[test]
    fn rows_not_called_or_not_counted_are_found() {
        assert_eq!(
            complaints(&table(), "gettimeofday 0\nunshare 1\n"),
            ["gettimeofday: no program called it"]
        );
        assert_eq!(complaints(&table(), "unshare 1\n"), ["gettimeofday: the kernel does not count it"]);
        assert_eq!(complaints(&table(), "gettimeofday 1\nunshare 1\nfork 3\n").len(), 1);
        assert_eq!(complaints(&[], "").len(), 1);
    }
}
