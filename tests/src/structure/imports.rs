//! Imports go only to the right: each part of the kernel may know the parts below it and none above.
//!
//! The order is the one the kernel's documentation gives. Found are all paths that begin at `crate`, `super` or `self`,
//! in `use` lines, in expressions and inside macros alike.

use super::Source;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The parts from left to right. `time` and `mm` are described as neighbours; the one import that there must be, the
/// frame under the VVAR page, decides which stands where.
const ORDER: [&str; 13] =
    ["main", "syscall", "fs/proc", "task", "exec", "fs", "ns", "time", "mm", "sync", "trace", "arch", "abi"];

/// The one call that goes up: a machine that has booted hands over to the function in `main.rs`.
const HAND_OVER: (&str, &str) = ("arch", "start");

/// A path that one file names.
#[derive(Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where.
    pub line: usize,
    /// From the crate's root: `["fs", "proc", "mount"]`.
    pub path: Vec<String>,
}

/// One line for each import that points to the left or at nothing known.
pub fn complaints(sources: &[Source]) -> Vec<String> {
    let mut all = Vec::new();
    for source in sources {
        let here = source.module();
        for reference in references(source) {
            if let Some(wrong) = wrong(&here, &reference.path) {
                let (path, line) = (reference.path.join("::"), reference.line);
                all.push(format!("{}:{line}: {wrong}: crate::{path}", source.path));
            }
        }
    }
    all
}

fn wrong(here: &[String], there: &[String]) -> Option<String> {
    let (from, to) = (part(here), part(there));
    if (from, to) == HAND_OVER && there.len() == 1 {
        return None;
    }
    if from == to || from == "main" {
        // Everything is the table of contents' to know, but only what is known at all.
        return rank(to).is_none().then(|| format!("{to} is no part of the kernel's order"));
    }
    let Some(from_rank) = rank(from) else { return Some(format!("{from} is no part of the kernel's order")) };
    match rank(to) {
        None => Some(format!("{from} imports {to}, which is no part of the kernel's order")),
        Some(to_rank) if to_rank > from_rank => None,
        Some(_) => Some(format!("{from} imports {to}, which stands to its left")),
    }
}

/// The part of the kernel that a path leads to.
fn part(path: &[String]) -> &str {
    match path {
        [] => "main",
        [first, second, ..] if first == "fs" && second == "proc" => "fs/proc",
        [first, ..] => first,
    }
}

fn rank(part: &str) -> Option<usize> {
    ORDER.iter().position(|one| *one == part)
}

/// All paths a file names that lead somewhere in its own crate.
pub fn references(source: &Source) -> Vec<Reference> {
    let mut found = Vec::new();
    walk(&source.tokens, &source.module(), &mut found);
    found
}

fn walk(tokens: &TokenStream, module: &[String], found: &mut Vec<Reference>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            // An inline module is one level deeper for `super` and `self`.
            TokenTree::Group(group) => {
                let before = |distance: usize| at.checked_sub(distance).and_then(|at| ident(&tokens, at));
                let inner = match (before(2).as_deref(), before(1)) {
                    (Some("mod"), Some(name)) => [module, &[name]].concat(),
                    _ => module.to_vec(),
                };
                walk(&group.stream(), &inner, found);
            }
            TokenTree::Ident(name) if is_path(&tokens, at) => {
                let start = match name.to_string().as_str() {
                    "crate" => Some(Vec::new()),
                    "self" => Some(module.to_vec()),
                    "super" => Some(parent(module)),
                    // The one part that lies inside another can be named from there without `crate`.
                    "proc" if module == ["fs"] => Some(vec!["fs".to_string(), "proc".to_string()]),
                    "fs" if ident(&tokens, at + 3).as_deref() == Some("proc") => Some(vec!["fs".to_string()]),
                    _ => None,
                };
                if let Some(start) = start {
                    at = follow(&tokens, at + 3, start, found, name.span().start().line);
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Follows a path from behind its first `::`; returns where the walk goes on.
fn follow(
    tokens: &[TokenTree],
    at: usize,
    mut path: Vec<String>,
    found: &mut Vec<Reference>,
    line: usize,
) -> usize {
    match tokens.get(at) {
        Some(TokenTree::Ident(name)) => {
            match name.to_string().as_str() {
                "super" => path = parent(&path),
                "self" => {}
                // A macro lies at the crate's root wherever it is defined: its name tells nothing.
                _ if path.is_empty() && is_punct(tokens, at + 1, '!') => return at + 1,
                other => path.push(other.to_string()),
            }
            if is_path(tokens, at) {
                return follow(tokens, at + 3, path, found, line);
            }
        }
        // A list in braces: each of its members goes on from here.
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let members: Vec<TokenTree> = group.stream().into_iter().collect();
            for member in members.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ',')) {
                if let Some(first) = member.first() {
                    follow(member, 0, path.clone(), found, first.span().start().line);
                }
            }
            return at + 1;
        }
        // A star, or generics.
        _ => {}
    }
    found.push(Reference { line, path });
    at + 1
}

/// Whether the token at `at` is followed by `::`.
fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens, at + 1, ':') && is_punct(tokens, at + 2, ':')
}

fn is_punct(tokens: &[TokenTree], at: usize, character: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn ident(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at) {
        Some(TokenTree::Ident(name)) => Some(name.to_string()),
        _ => None,
    }
}

fn parent(path: &[String]) -> Vec<String> {
    path[..path.len().saturating_sub(1)].to_vec()
}

#[cfg(test)]
mod tests;
