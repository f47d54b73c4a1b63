//! The checker: one list of rules, one function a rule, one sentence a problem.
//!
//! It knows the image only as bytes and shares nothing with what built it but the number of data pages. A program
//! that finds something wrong in its vDSO does not complain, it just makes system calls (musl without DT_HASH) or
//! crashes in a debugger years later (unwind tables); that is why the complaint has to come from here.

use super::place::VERSION;
use super::rules::RULES;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection, ObjectSymbol};
use std::fmt;

/// The functions every image has.
pub const FUNCTIONS: [&str; 6] =
    ["clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu", "getrandom"];
/// What an exported function's name begins with.
pub const PREFIX: &str = "__vdso_";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The rule, in a word or two.
    pub rule: &'static str,
    /// What was found, in a sentence.
    pub message: String,
}

impl Problem {
    /// A problem with its rule.
    pub fn new(rule: &'static str, message: impl Into<String>) -> Problem {
        Problem { rule, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.message)
    }
}

/// An exported function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, without prefix.
    pub name: String,
    /// Where its code begins, from the image's first byte.
    pub address: u64,
    /// Bytes of code.
    pub size: u64,
}

/// What a sound image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Bytes of the file; the kernel maps it rounded up to pages.
    pub size: usize,
    /// Bytes of code.
    pub text_size: u64,
    /// The functions, by address.
    pub functions: Vec<Function>,
    /// The build's identity, in hexadecimal.
    pub build_id: String,
    /// Whether readers follow a time namespace's page.
    pub follows_namespaces: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a sound vDSO: {} bytes, {} of them code, version {VERSION}", self.size, self.text_size)?;
        writeln!(f, "build id {}", self.build_id)?;
        let follows = if self.follows_namespaces { "follow" } else { "know nothing of" };
        writeln!(f, "readers {follows} time namespaces")?;
        for Function { name, address, size } in &self.functions {
            writeln!(f, "  {address:#06x} {size:5} bytes  {PREFIX}{name}")?;
        }
        Ok(())
    }
}

/// The image as every rule sees it: its bytes, and the same parsed.
pub struct Image<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// Headers, sections and symbols.
    pub file: ElfFile64<'a, Endianness>,
}

impl<'a> Image<'a> {
    /// A section's bytes; none if there is no such section.
    pub fn section(&self, name: &str) -> &'a [u8] {
        self.file.section_by_name(name).and_then(|section| section.data().ok()).unwrap_or(&[])
    }
}

/// Applies every rule. All problems are reported, not the first alone: one damage often shows in several places.
pub fn check(bytes: &[u8]) -> Result<Report, Vec<Problem>> {
    let file = match ElfFile64::parse(bytes) {
        Ok(file) => file,
        Err(error) => return Err(vec![Problem::new("ELF", format!("not a 64-bit ELF file: {error}"))]),
    };
    let image = Image { bytes, file };
    let mut problems = Vec::new();
    for (rule, function) in RULES {
        function(&image, &mut |message| problems.push(Problem::new(rule, message)));
    }
    if problems.is_empty() { Ok(report(&image)) } else { Err(problems) }
}

fn report(image: &Image<'_>) -> Report {
    let mut functions: Vec<_> = image
        .file
        .dynamic_symbols()
        .filter_map(|symbol| {
            let name = symbol.name().ok()?.strip_prefix(PREFIX)?.to_string();
            Some(Function { name, address: symbol.address(), size: symbol.size() })
        })
        .collect();
    functions.sort_by_key(|function| function.address);
    let build_id = image.file.build_id().ok().flatten().unwrap_or(&[]);
    Report {
        size: image.bytes.len(),
        text_size: image.section(".text").len() as u64,
        functions,
        build_id: build_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        follows_namespaces: compares_with_namespace_mode(image.section(".text")),
    }
}

/// Whether some instruction compares with the clock mode that marks a namespace's page: `cmp eax, imm32`, or `cmp` of
/// another register or of memory with imm32, which is opcode 81 with 7 in the middle of the next byte.
fn compares_with_namespace_mode(text: &[u8]) -> bool {
    let mode = gnomon_vdso::page::MODE_TIME_NAMESPACE.to_le_bytes();
    text.windows(4).enumerate().any(|(at, bytes)| {
        let before = |distance: usize| at.checked_sub(distance).map(|at| text[at]);
        let memory = (2..=7).any(|distance| {
            before(distance) == Some(0x81) && before(distance - 1).is_some_and(|form| form >> 3 & 7 == 7)
        });
        bytes == mode && (before(1) == Some(0x3d) || memory)
    })
}
