//! The words a person gives `gnomon-um`: a few are the machine's own, all others the kernel's.
//!
//! On a real machine a boot loader stands between the person and the kernel, and takes the size of memory and the place of
//! the archive for itself. Here the process is both: `mem=` and `initrd=` describe the machine, what begins with a dash
//! concerns the process, and everything else goes to the kernel as on any machine: to `/proc/cmdline` and, after `--`,
//! to init.

use super::memory::DEFAULT_SIZE;
use alloc::{format, string::String};
use std::path::PathBuf;

/// What `--help` says.
pub const HELP: &str = "\
gnomon-um: the Gnomon kernel as an ordinary process; the console is standard input and output

usage: gnomon-um [OPTION...] [mem=SIZE] [initrd=FILE] [init=PATH] [KERNEL WORD...] [-- INIT ARGUMENT...]

  mem=SIZE       RAM, at least 64M, with K, M or G behind the number (256M)
  initrd=FILE    the initial file system, a cpio archive (initramfs.cpio beside this program)
  init=PATH      the first program (/init, /sbin/init, /bin/sh)
  KERNEL WORD    quiet, loglevel=N and the like; an unknown NAME=VALUE goes to init's environment

  --cpu=N        run on CPU N of the host, or `any` for no particular one (the one it was started on)
  --stats        at the end, tell on standard error what the machine did
  --help         this

On a terminal every key goes to the machine, control-C too; control-] three times within a second ends the machine.
Exit status: 0 after a power-off, 1 after a kernel panic, 2 when the machine could not be started.
";

/// The least RAM, in bytes; what the bare machine needs too.
const LEAST_MEMORY: u64 = 64 << 20;
/// The most: the table of so many frames takes 4 GiB.
const MOST_MEMORY: u64 = 1 << 40;

/// The initial archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Archive {
    /// Nobody said: the one beside the program.
    Beside,
    /// `initrd=` with nothing behind it: none, and the kernel may say what it thinks of that.
    None,
    /// This file.
    File(PathBuf),
}

/// Where on the host to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cpu {
    /// Where it was started, and there for good.
    Current,
    /// On this one.
    Number(usize),
    /// Wherever the host likes.
    Any,
}

/// A machine as asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// RAM in bytes.
    pub memory: u64,
    /// Its files.
    pub archive: Archive,
    /// Where to run.
    pub cpu: Cpu,
    /// Whether to tell at the end what it did.
    pub statistics: bool,
    /// The kernel's own command line.
    pub words: String,
}

/// What a person wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// To read [`HELP`].
    Help,
    /// A machine.
    Machine(Options),
}

/// Reads the arguments, the program's name not among them. Errors: a sentence.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut options = Options {
        memory: DEFAULT_SIZE,
        archive: Archive::Beside,
        cpu: Cpu::Current,
        statistics: false,
        words: String::new(),
    };
    while let Some(word) = arguments.next() {
        match word.split_once('=') {
            Some(("mem", size)) => options.memory = memory(size)?,
            Some(("initrd", "")) => options.archive = Archive::None,
            Some(("initrd", file)) => options.archive = Archive::File(file.into()),
            Some(("--cpu", number)) => options.cpu = cpu(number)?,
            _ if word == "--stats" => options.statistics = true,
            _ if word == "--help" || word == "-h" => return Ok(Wish::Help),
            _ if word == "--" => {
                append(&mut options.words, "--")?;
                for argument in arguments.by_ref() {
                    append(&mut options.words, &argument)?;
                }
            }
            _ if word.starts_with('-') => return Err(format!("there is no option {word}: see --help")),
            _ => append(&mut options.words, &word)?,
        }
    }
    Ok(Wish::Machine(options))
}

/// Adds a word to a command line, in quotes if it has spaces; there is no way to write a quote itself.
fn append(words: &mut String, word: &str) -> Result<(), String> {
    if word.contains('"') {
        return Err(format!("{word} has a quotation mark, which a kernel command line cannot hold"));
    }
    if !words.is_empty() {
        words.push(' ');
    }
    if word.is_empty() || word.contains(char::is_whitespace) {
        words.push('"');
        words.push_str(word);
        words.push('"');
    } else {
        words.push_str(word);
    }
    Ok(())
}

fn memory(size: &str) -> Result<u64, String> {
    let unit = match size.as_bytes().last() {
        Some(b'k' | b'K') => 1 << 10,
        Some(b'm' | b'M') => 1 << 20,
        Some(b'g' | b'G') => 1 << 30,
        _ => 1,
    };
    let digits = if unit == 1 { size } else { &size[..size.len() - 1] };
    let bytes = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    match bytes {
        None => Err(format!("mem={size} is not a size: a number, with K, M or G behind it")),
        Some(bytes) if bytes < LEAST_MEMORY => Err(format!("mem={size} is too little: 64M is the least")),
        Some(bytes) if bytes > MOST_MEMORY => Err(format!("mem={size} is too much: 1024G is the most")),
        Some(bytes) => Ok(bytes),
    }
}

fn cpu(number: &str) -> Result<Cpu, String> {
    match number {
        "any" => Ok(Cpu::Any),
        number => number
            .parse()
            .map(Cpu::Number)
            .map_err(|_| format!("--cpu={number} is neither a number nor `any`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn parsed(words: &[&str]) -> Result<Wish, String> {
        parse(words.iter().map(ToString::to_string))
    }

    fn options(words: &[&str]) -> Options {
        match parsed(words) {
            Ok(Wish::Machine(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_machines_words_are_taken_out_and_the_kernels_left() {
        let words = [
            "quiet",
            "mem=1G",
            "initrd=/a b",
            "init=/bin/sh",
            "--cpu=3",
            "--stats",
            "A=b c",
            "--",
            "-c",
            "echo a",
            "",
        ];
        let options = options(&words);
        assert_eq!(options.memory, 1 << 30);
        assert_eq!(options.archive, Archive::File("/a b".into()));
        assert_eq!((options.cpu, options.statistics), (Cpu::Number(3), true));
        assert_eq!(options.words, "quiet init=/bin/sh \"A=b c\" -- -c \"echo a\" \"\"");
    }

    #[test]
    fn nothing_means_the_usual() {
        let options = options(&[]);
        assert_eq!((options.memory, options.words.as_str()), (256 << 20, ""));
        assert_eq!((options.archive, options.cpu), (Archive::Beside, Cpu::Current));
        assert!(!options.statistics);
    }

    #[test]
    fn words_after_two_dashes_are_inits() {
        assert_eq!(options(&["--", "mem=1", "--help", "--"]).words, "-- mem=1 --help --");
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("65536k", 64 << 20), ("64M", 64 << 20), ("2g", 2 << 30), ("134217728", 128 << 20)]
        {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "x", "64MB", "-64M", "1.5G", "99999999999G", "99999999999999999999"] {
            assert!(memory(text).unwrap_err().contains("is not a size"), "{text}");
        }
        assert_eq!(memory("63M").unwrap_err(), "mem=63M is too little: 64M is the least");
        assert!(memory("1025G").unwrap_err().contains("too much"));
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        for words in [["--fly"], ["-append"], ["--cpu=x"], ["A=\"b\""], ["mem=1K"]] {
            assert!(parsed(&words).is_err(), "{words:?}");
        }
        assert_eq!(parsed(&["mem=1G", "--help"]), Ok(Wish::Help));
        assert_eq!(options(&["initrd="]).archive, Archive::None);
        assert_eq!(options(&["--cpu=any"]).cpu, Cpu::Any);
    }
}
