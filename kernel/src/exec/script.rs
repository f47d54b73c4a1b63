//! Files that name the program to read them in their first line, `#!`: execve(2), "Interpreter scripts".
//!
//! `#! /bin/sh -e` in a file called as `script a b` makes it `/bin/sh -e script a b`: the name and at most one argument
//! (the rest of the line, spaces and all) go in front of the path the file was called by, in place of what the caller
//! gave as the first string. The program named may be such a file itself, up to five deep.

use super::{Arguments, Open};
use crate::{
    abi::{Errno, Result},
    mm::PageSource,
};
use alloc::sync::Arc;

/// How much of a file is looked at for the line.
const LINE: usize = 256;

/// How often one script may name another.
const DEEPEST: usize = 5;

/// An opened file that may be executed.
pub trait Program {
    /// Its bytes.
    fn pages(&self) -> Arc<dyn PageSource>;
}

impl Program for Arc<dyn PageSource> {
    fn pages(&self) -> Arc<dyn PageSource> {
        self.clone()
    }
}

/// Follows scripts to the program that is to be loaded, and puts what they say in front of the arguments. `path` is what
/// the first one was called by; `open` opens a path as execve(2) would.
///
/// Errors: ENOEXEC (a line that names nothing, or is cut off), ELOOP (too deep), E2BIG, and what `open` says.
pub fn follow_scripts<P: Program>(
    mut program: P,
    path: &[u8],
    arguments: &mut Arguments,
    open: Open<'_, P>,
) -> Result<P> {
    let mut called_by = path.to_vec();
    for _ in 0..=DEEPEST {
        let mut head = [0; LINE];
        program.pages().read_at(0, &mut head)?;
        let Some(text) = head.strip_prefix(b"#!") else { return Ok(program) };
        let line = Line::parse(text)?;
        arguments.replace_first(&[Some(line.interpreter), line.argument, Some(&called_by)])?;
        program = open(line.interpreter)?;
        called_by = line.interpreter.to_vec();
    }
    Err(Errno::ELOOP.because("scripts name each other at most five deep"))
}

#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    interpreter: &'a [u8],
    argument: Option<&'a [u8]>,
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

impl<'a> Line<'a> {
    /// Takes the first line apart; `text` is what follows `#!`, as many bytes as are looked at, NULs behind the file's
    /// end.
    fn parse(text: &'a [u8]) -> Result<Self> {
        let nothing = || Errno::ENOEXEC.because("a script's first line names its interpreter");
        let line = match text.iter().position(|byte| *byte == b'\n') {
            Some(end) => &text[..end],
            // The line is longer than what is looked at. That is well as long as the name is whole.
            None => {
                let text = &text[..text.len() - 1];
                let name = text.trim_start_blank();
                if !name.iter().any(|byte| is_blank(byte) || *byte == 0) {
                    return Err(nothing());
                }
                text
            }
        };
        // A NUL ends whatever string it is in, as strings end.
        let rest = line.trim_end_blank().trim_start_blank();
        let end = rest.iter().position(|byte| is_blank(byte) || *byte == 0).unwrap_or(rest.len());
        let (interpreter, rest) = rest.split_at(end);
        if interpreter.is_empty() {
            return Err(nothing());
        }
        let argument = match rest.first() {
            None | Some(0) => None,
            Some(_) => Some(up_to_nul(rest.trim_start_blank())).filter(|argument| !argument.is_empty()),
        };
        Ok(Self { interpreter, argument })
    }
}

fn up_to_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())]
}

trait TrimBlank {
    fn trim_start_blank(&self) -> &Self;
    fn trim_end_blank(&self) -> &Self;
}

impl TrimBlank for [u8] {
    fn trim_start_blank(&self) -> &Self {
        &self[self.iter().position(|byte| !is_blank(byte)).unwrap_or(self.len())..]
    }

    fn trim_end_blank(&self) -> &Self {
        &self[..self.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let mut head = [0; LINE - 2];
        let length = text.len().min(head.len());
        head[..length].copy_from_slice(&text[..length]);
        Line::parse(&head).map(|line| (line.interpreter.to_vec(), line.argument.map(<[u8]>::to_vec)))
    }
    use alloc::vec::Vec;

    fn line(interpreter: &str, argument: Option<&str>) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        Ok((interpreter.into(), argument.map(Into::into)))
    }

    #[test]
    fn takes_the_line_apart_as_linux_does() {
        assert_eq!(parse(b"/bin/sh\necho"), line("/bin/sh", None));
        assert_eq!(parse(b" \t/bin/sh \t -e  -x \t\n"), line("/bin/sh", Some("-e  -x")));
        assert_eq!(parse(b"/bin/sh"), line("/bin/sh", None), "a file that ends before its line does");
        assert_eq!(parse(b"/bin/sh -e"), line("/bin/sh", Some("-e")));
        assert_eq!(parse(b"/bin/sh\0 -e\n"), line("/bin/sh", None), "a NUL ends the name");
        assert_eq!(parse(b"/bin/sh -e\0-x\n"), line("/bin/sh", Some("-e")));
        for empty in [&b"\n"[..], b"   \n", b"", b" \t"] {
            assert_eq!(parse(empty), Err(Errno::ENOEXEC), "{empty:?}");
        }
    }

    #[test]
    fn a_name_that_is_cut_off_is_refused_and_an_argument_is_not() {
        let long = alloc::vec![b'x'; 300];
        assert_eq!(parse(&long), Err(Errno::ENOEXEC));
        let mut with_argument = b"/bin/sh ".to_vec();
        with_argument.extend(&long);
        let (interpreter, argument) = parse(&with_argument).unwrap();
        assert_eq!((&interpreter[..], argument.unwrap().len()), (&b"/bin/sh"[..], LINE - 2 - 1 - 8));
    }
}
