//! From an address to a function's name, by the symbol table of an ELF file.
//!
//! Used when a machine hangs: the console may be silent, but QEMU knows where the processor stands, and a name says
//! more than a number. Also used to check that a symbol is *not* in an image.

use anyhow::Context;
use object::{Object, ObjectSymbol};
use std::path::Path;

/// The named addresses of one ELF file, in ascending order.
pub struct Symbols(Vec<(u64, u64, String)>);

impl Symbols {
    /// Reads `.symtab`, and `.dynsym` for images that carry nothing else.
    pub fn read(path: &Path) -> anyhow::Result<Symbols> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file =
            object::File::parse(&*bytes).with_context(|| format!("{} is no ELF file", path.display()))?;
        let mut all: Vec<_> = (file.symbols().chain(file.dynamic_symbols()))
            // Symbols without a section are numbers that a linker script gave names, or names of source files.
            .filter(|symbol| symbol.section_index().is_some())
            .filter_map(|symbol| {
                let name = symbol.name().ok().filter(|name| !name.is_empty())?;
                Some((symbol.address(), symbol.size(), format!("{:#}", rustc_demangle::demangle(name))))
            })
            .collect();
        all.sort();
        Ok(Symbols(all))
    }

    /// `name+0x12`, or the bare address if nothing covers it.
    pub fn name(&self, address: u64) -> String {
        let before = self.0.partition_point(|(start, ..)| *start <= address);
        match self.0[..before].last() {
            // A symbol without a size (assembly) is taken to reach up to the next one.
            Some((start, size, name)) if *size == 0 || address < start + size => {
                format!("{name}+{:#x}", address - start)
            }
            _ => format!("{address:#x}"),
        }
    }

    /// Every name, mangling undone.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, _, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Symbols {
        Symbols(vec![(0x1000, 0x10, "first".into()), (0x1020, 0, "stub".into()), (0x2000, 8, "last".into())])
    }

    #[test]
    fn an_address_inside_is_named() {
        assert_eq!(three().name(0x1000), "first+0x0");
        assert_eq!(three().name(0x100f), "first+0xf");
        assert_eq!(three().name(0x1999), "stub+0x979");
    }

    #[test]
    fn an_address_outside_is_a_number() {
        assert_eq!(three().name(0xfff), "0xfff");
        assert_eq!(three().name(0x1010), "0x1010");
        assert_eq!(three().name(0x2008), "0x2008");
    }

    #[test]
    fn this_program_has_names() {
        let own = Symbols::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(own.names().any(|name| name.contains("this_program_has_names")));
    }
}
