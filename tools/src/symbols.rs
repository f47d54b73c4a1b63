//! The kernel's symbol table: collected from the linked file, written into the room the kernel keeps for it.
//!
//! The format, and why there is one, is told by its reader, `kernel/src/arch/x86_64/symbols.rs`. That file is compiled
//! into the tests below, so what is written here is read back by the very code that will read it in a panic.

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};
use std::collections::BTreeMap;

/// The section with the room, and what a filled one begins with; both as in the kernel.
const SECTION: &str = ".gnomon_symbols";
const MAGIC: [u8; 8] = *b"GNOMSYMS";

/// What begins at an address: a function of that name or, with an empty name, nothing after the end of code.
type Functions = BTreeMap<u64, String>;

/// Fills in the table of a linked kernel, given as the bytes of its file.
///
/// A kernel without the section is left as it is: its panics show bare addresses, nothing else changes.
pub fn fill(kernel: &mut [u8]) -> Result<()> {
    let functions = functions(&parse(kernel)?);
    fill_with(kernel, &functions)
}

fn fill_with(kernel: &mut [u8], functions: &Functions) -> Result<()> {
    let table = encode(functions)?;
    let Some(section) = parse(kernel)?.section_by_name(SECTION).map(|section| section.file_range()) else {
        return Ok(());
    };
    let (start, size) = section.with_context(|| format!("{SECTION} has no room in the file"))?;
    let (start, size) = (usize::try_from(start)?, usize::try_from(size)?);
    if table.len() > size {
        bail!(
            "the kernel's symbol table needs {} bytes but {SECTION} keeps {size}: raise RESERVED in kernel/src/arch/x86_64/symbols.rs",
            table.len()
        );
    }
    let room = kernel.get_mut(start..start + size).context("the kernel's file is cut short")?;
    room.fill(0);
    room[..table.len()].copy_from_slice(&table);
    Ok(())
}

fn parse(kernel: &[u8]) -> Result<object::File<'_>> {
    object::File::parse(kernel).context("the kernel is not an ELF file")
}

/// Every named address in a section of code. Symbols without a type count: that is what labels in assembly are.
fn functions(file: &object::File) -> Functions {
    let code = |symbol: &object::Symbol| {
        let section = file.section_by_index(symbol.section_index()?).ok()?;
        (section.kind() == SectionKind::Text).then_some(())
    };
    let mut functions = Functions::new();
    for symbol in file.symbols().filter(|symbol| code(symbol).is_some()) {
        if let Some(name) = symbol.name().ok().filter(|name| !name.is_empty()) {
            // {:#} leaves out the hash that legacy mangling adds. Of two names for one place either will do; the
            // shorter is easier to read.
            let name = format!("{:#}", rustc_demangle::demangle(name));
            let known = functions.entry(symbol.address()).or_insert_with(|| name.clone());
            if name.len() < known.len() {
                *known = name;
            }
        }
    }
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        // Unless other code begins just there.
        functions.entry(section.address() + section.size()).or_default();
    }
    functions
}

/// The table, byte for byte.
fn encode(functions: &Functions) -> Result<Vec<u8>> {
    let mut entries = Vec::new();
    let mut names = String::new();
    for (address, name) in functions {
        entries.extend_from_slice(&address.to_le_bytes());
        entries.extend_from_slice(&u32::try_from(names.len())?.to_le_bytes());
        names.push_str(name);
    }
    let count = functions.len() as u64;
    Ok([&MAGIC[..], &count.to_le_bytes(), &entries, names.as_bytes()].concat())
}

#[cfg(test)]
#[path = "../../kernel/src/arch/x86_64/symbols.rs"]
mod reader;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: u64 = 0xffff_ffff_8010_0000;

    fn table(functions: &[(u64, &str)]) -> Vec<u8> {
        encode(&functions.iter().map(|(offset, name)| (BASE + offset, name.to_string())).collect()).unwrap()
    }

    #[test]
    fn an_address_finds_the_function_that_holds_it() {
        let table = table(&[(0, "start"), (0x40, "kernel::main"), (0x80, ""), (0x100, "last"), (0x180, "")]);
        for (offset, expected) in [
            (0, Some(("start", 0))),
            (0x3f, Some(("start", 0x3f))),
            (0x40, Some(("kernel::main", 0))),
            (0x7f, Some(("kernel::main", 0x3f))),
            (0x80, None),
            (0xff, None),
            (0x100, Some(("last", 0))),
            (0x17f, Some(("last", 0x7f))),
            (0x180, None),
        ] {
            assert_eq!(reader::find(&table, BASE + offset), expected, "{offset:#x}");
        }
        for outside in [0, BASE - 1, u64::MAX] {
            assert_eq!(reader::find(&table, outside), None, "{outside:#x}");
        }
    }

    #[test]
    fn a_table_never_filled_in_names_nothing() {
        assert_eq!(reader::find(&[0; 4096], BASE), None);
        assert_eq!(reader::find(&[], BASE), None);
        assert_eq!(reader::find(&table(&[]), BASE), None);
        // The room this test program itself reserves, which nobody filled in.
        assert_eq!(reader::lookup(BASE), None);
        assert_eq!(reader::MAGIC, MAGIC);
    }

    /// This test program reserves room as a kernel does (it contains the reader), so it can be filled in like one.
    /// It has far more functions than a kernel, though: all of them do not fit.
    #[test]
    fn a_linked_file_is_filled_in() {
        let mut file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut functions = functions(&parse(&file).unwrap());
        let error = fill_with(&mut file, &functions).unwrap_err().to_string();
        assert!(error.ends_with("raise RESERVED in kernel/src/arch/x86_64/symbols.rs"), "{error}");

        functions.retain(|_, name| name.is_empty() || name.starts_with("gnomon_tools::symbols"));
        fill_with(&mut file, &functions).unwrap();
        let (start, size) = parse(&file).unwrap().section_by_name(SECTION).unwrap().file_range().unwrap();
        let table = &file[start as usize..][..size as usize];
        let (address, name) = functions.iter().find(|(_, name)| name.ends_with("is_filled_in")).unwrap();
        assert_eq!(reader::find(table, address + 1), Some((name.as_str(), 1)));
    }

    proptest! {
        #[test]
        fn a_damaged_table_is_survived(garbage in proptest::collection::vec(any::<u8>(), 0..200), address: u64) {
            let mut damaged = MAGIC.to_vec();
            damaged.extend(garbage);
            let _ = reader::find(&damaged, address);
            let _ = reader::find(&damaged[8..], address);
        }
    }
}
