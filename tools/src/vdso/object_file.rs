//! The object before it is linked: the place where a possible panic can still be named.
//!
//! The crate has no panic handler, so code that can panic refers to a function nobody defines. The linker would say so
//! in its own words; here it becomes a sentence with the function's name. The object also still has the names of
//! everything in it, which the stripped image has not: the kernel's side of the crate must not be among them.

use super::check::Problem;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::BTreeSet;

/// The one name the object may leave open; the linker script defines it.
const VVAR_PAGE: &str = "vvar_page";

/// Everything wrong with the object.
pub fn check(bytes: &[u8]) -> Result<(), Vec<Problem>> {
    let file = match ElfFile64::<Endianness>::parse(bytes) {
        Ok(file) => file,
        Err(error) => return Err(vec![Problem::new("object", error.to_string())]),
    };
    let mut messages = BTreeSet::new();
    for section in file.sections() {
        for (at, relocation) in section.relocations() {
            let object::RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let Ok(symbol) = file.symbol_by_index(index) else { continue };
            let name = symbol.name().unwrap_or("?");
            if symbol.is_undefined() && name != VVAR_PAGE {
                let user = user(&file, section.index(), at);
                messages.insert(undefined(&user, &readable(name)));
            }
        }
    }
    let mut problems: Vec<_> =
        messages.into_iter().map(|message| Problem::new("undefined symbols", message)).collect();
    for symbol in file.symbols().filter(|symbol| symbol.is_definition()) {
        let name = readable(symbol.name().unwrap_or("?"));
        if name.contains("gnomon_vdso::write::") {
            let message = format!("{name} is the kernel's side of the page and does not belong in the image");
            problems.push(Problem::new("kernel code", message));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The sentence for a function of the image that refers to something outside.
fn undefined(user: &str, name: &str) -> String {
    const COPYING: [&str; 5] = ["memcpy", "memmove", "memset", "memcmp", "bcmp"];
    if name.contains("panic") {
        format!(
            "{user} can panic (it refers to {name}), and there is nobody to handle a panic inside a program that reads \
             a clock: use wrapping arithmetic or `get`, or rule the case out by a type"
        )
    } else if COPYING.contains(&name) {
        format!("{user} calls {name}, which the image does not have: assign the fields one by one")
    } else {
        format!("{user} refers to {name}, which is outside the image")
    }
}

/// The function whose code is at `at` in a section.
fn user(file: &ElfFile64, section: object::SectionIndex, at: u64) -> String {
    let inside = |symbol: &object::read::elf::ElfSymbol64| {
        symbol.kind() == SymbolKind::Text
            && symbol.section_index() == Some(section)
            && (symbol.address()..symbol.address() + symbol.size()).contains(&at)
    };
    match file.symbols().find(inside) {
        Some(symbol) => readable(symbol.name().unwrap_or("?")),
        None => match file.section_by_index(section).ok().and_then(|section| section.name().ok()) {
            Some(name) => format!("section {name}"),
            None => "something".into(),
        },
    }
}

/// A compiler's symbol as the path a programmer wrote.
fn readable(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}
