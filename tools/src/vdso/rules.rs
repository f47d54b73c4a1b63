//! What makes an image sound: every rule and why it is one.

use super::check::{FUNCTIONS, Image, PREFIX};
use super::lookup::{NotFound, Tables, tag};
use super::place::VERSION;
use super::unwind;
use gnomon_vdso::counter::FENCED;
use gnomon_vdso::page::{DATA_PAGES, PAGE_SIZE};
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, Object, ObjectSymbol};

/// Where a rule puts its sentences.
type Say<'a> = dyn FnMut(String) + 'a;
type Rule = fn(&Image<'_>, &mut Say<'_>);

/// The rules by name.
pub const RULES: [(&str, Rule); 12] = [
    ("file header", file_header),
    ("size", size),
    ("segments", segments),
    ("sections", sections),
    ("relocations", relocations),
    ("dynamic segment", dynamic_segment),
    ("functions", functions),
    ("exports", exports),
    ("versions", versions),
    ("notes", notes),
    ("data pages", data_pages),
    ("counter", counter),
];

const ENDIAN: Endianness = Endianness::Little;
const SONAME: &str = "linux-vdso.so.1";

/// A shared object for x86-64 that nobody starts.
fn file_header(image: &Image<'_>, say: &mut Say<'_>) {
    let header = image.file.elf_header();
    if header.e_type(ENDIAN) != elf::ET_DYN {
        say(format!(
            "the type is {}, not ET_DYN: only a shared object may lie at any address",
            header.e_type(ENDIAN)
        ));
    }
    if header.e_machine(ENDIAN) != elf::EM_X86_64 {
        say(format!("the machine is {}, not x86-64", header.e_machine(ENDIAN)));
    }
    if header.e_entry(ENDIAN) != 0 {
        say(format!("there is an entry point, {:#x}; nobody starts a vDSO", header.e_entry(ENDIAN)));
    }
}

/// Linux's image has two pages, and programs that restore a process expect no more.
fn size(image: &Image<'_>, say: &mut Say<'_>) {
    if image.bytes.len() > 2 * PAGE_SIZE {
        say(format!("{} bytes are more than two pages", image.bytes.len()));
    }
}

/// One segment is mapped, readable and executable, file as memory; the other three point into it.
fn segments(image: &Image<'_>, say: &mut Say<'_>) {
    let headers = image.file.elf_program_headers();
    let of_kind = |kind| headers.iter().filter(move |header| header.p_type(ENDIAN) == kind);
    let loads: Vec<_> = of_kind(elf::PT_LOAD).collect();
    let [load] = loads[..] else {
        return say(format!("there are {} segments to load, not one", loads.len()));
    };
    if load.p_flags(ENDIAN) != elf::PF_R | elf::PF_X {
        say(format!("the loaded segment's rights are {}, not r-x", rights(load.p_flags(ENDIAN).0)));
    }
    if (load.p_offset(ENDIAN), load.p_vaddr(ENDIAN)) != (0, 0) {
        say(
            "the loaded segment does not begin with the file at address 0: the kernel maps the file as it is"
                .into(),
        );
    }
    if load.p_filesz(ENDIAN) != load.p_memsz(ENDIAN) {
        say("the loaded segment is larger in memory than in the file; nobody fills in the rest".into());
    }
    if load.p_align(ENDIAN) != PAGE_SIZE as u64 {
        say(format!("the loaded segment is aligned to {:#x}, not to a page", load.p_align(ENDIAN)));
    }
    const POINTERS: [(elf::ProgramType, &str); 3] = [
        (elf::PT_DYNAMIC, "PT_DYNAMIC"),
        (elf::PT_NOTE, "PT_NOTE"),
        (elf::PT_GNU_EH_FRAME, "PT_GNU_EH_FRAME"),
    ];
    for (kind, name) in POINTERS {
        let found: Vec<_> = of_kind(kind).collect();
        let [header] = found[..] else {
            say(format!("there are {} headers {name}, not one", found.len()));
            continue;
        };
        if header.p_flags(ENDIAN) != elf::PF_R {
            say(format!("the rights of {name} are {}, not r--", rights(header.p_flags(ENDIAN).0)));
        }
        let end = header.p_vaddr(ENDIAN).checked_add(header.p_filesz(ENDIAN));
        let inside = end.is_some_and(|end| end <= load.p_filesz(ENDIAN));
        if header.p_vaddr(ENDIAN) != header.p_offset(ENDIAN) || !inside {
            say(format!("{name} does not lie in the loaded segment"));
        }
    }
    if headers.len() != 1 + POINTERS.len() {
        say(format!("there are {} program headers, not {}", headers.len(), 1 + POINTERS.len()));
    }
}

fn rights(flags: u32) -> String {
    [(4, 'r'), (2, 'w'), (1, 'x')]
        .map(|(bit, letter)| if flags & bit != 0 { letter } else { '-' })
        .iter()
        .collect()
}

/// Nothing but the dynamic table may claim to be writable (every linker marks that one so), and there is no data.
fn sections(image: &Image<'_>, say: &mut Say<'_>) {
    let table = image.file.elf_section_table();
    if table.iter().len() <= 1 {
        say("there are no section headers; debuggers want them".into());
    }
    for section in table.iter() {
        let name = table.section_name(ENDIAN, section).map(String::from_utf8_lossy).unwrap_or_default();
        let flags = section.sh_flags(ENDIAN);
        let writable = flags.contains(elf::SHF_ALLOC) && flags.contains(elf::SHF_WRITE);
        if writable && name != ".dynamic" {
            say(format!("section {name} is data; a vDSO is shared by every program and has none"));
        }
        if name.starts_with(".got") || name.starts_with(".plt") {
            say(format!("section {name} holds addresses somebody would have to fill in"));
        }
        if section.sh_type(ENDIAN) == elf::SHT_NOBITS && flags.contains(elf::SHF_ALLOC) {
            say(format!("section {name} has memory but no bytes in the file"));
        }
    }
}

/// The kernel maps the image and is done; nobody relocates it.
fn relocations(image: &Image<'_>, say: &mut Say<'_>) {
    let table = image.file.elf_section_table();
    for section in table.iter() {
        let kind = section.sh_type(ENDIAN);
        if matches!(kind, elf::SHT_REL | elf::SHT_RELA | elf::SHT_RELR) && section.sh_size(ENDIAN) != 0 {
            let name = table.section_name(ENDIAN, section).map(String::from_utf8_lossy).unwrap_or_default();
            say(format!("section {name} holds relocations, and nobody applies them"));
        }
    }
    let Ok(tables) = Tables::new(image.bytes) else { return };
    let relocating =
        [(tag::REL, "DT_REL"), (tag::RELA, "DT_RELA"), (tag::RELR, "DT_RELR"), (tag::JMPREL, "DT_JMPREL")];
    for (tag, name) in relocating.into_iter().chain([(tag::TEXTREL, "DT_TEXTREL")]) {
        if tables.entry(tag).is_some() {
            say(format!("the dynamic segment asks for relocation ({name})"));
        }
    }
}

/// What C libraries look for, and nothing that would make them load or change anything.
fn dynamic_segment(image: &Image<'_>, say: &mut Say<'_>) {
    let tables = match Tables::new(image.bytes) {
        Ok(tables) => tables,
        Err(reason) => return say(reason.to_string()),
    };
    const NEEDED: [(u64, &str, &str); 5] = [
        (tag::HASH, "DT_HASH", "static musl finds nothing without it and silently makes system calls"),
        (tag::GNU_HASH, "DT_GNU_HASH", "dynamic linkers prefer it"),
        (tag::VERSYM, "DT_VERSYM", "the functions have no version without it"),
        (tag::VERDEF, "DT_VERDEF", "versions have no names without it"),
        (tag::STRSZ, "DT_STRSZ", "every dynamic segment has it"),
    ];
    for (tag, name, why) in NEEDED {
        if tables.entry(tag).is_none() {
            say(format!("{name} is missing: {why}"));
        }
    }
    match tables.entry(tag::SONAME).map(|at| tables.string(at)) {
        Some(Some(SONAME)) => {}
        Some(name) => say(format!("the name (DT_SONAME) is {}, not {SONAME}", name.unwrap_or("unreadable"))),
        None => say(format!("DT_SONAME is missing: the name has to be {SONAME}")),
    }
    if tables.entry(tag::SYMENT) != Some(24) {
        say("DT_SYMENT is not 24, the size of a symbol".into());
    }
    // DT_SYMBOLIC and DT_BIND_NOW became flags of DT_FLAGS; linkers write the one or the other.
    const DF_SYMBOLIC: usize = 2;
    const DF_BIND_NOW: usize = 8;
    let flags = tables.entry(tag::FLAGS).unwrap_or(0);
    if flags & DF_SYMBOLIC == 0 && tables.entry(tag::SYMBOLIC).is_none() {
        say("it is not symbolic: its own references could be bound to a program's functions".into());
    }
    if flags & DF_BIND_NOW == 0 {
        say("it is not marked BIND_NOW".into());
    }
    if let Some(name) = tables.entry(tag::NEEDED) {
        say(format!("it needs another library, {}", tables.string(name).unwrap_or("of unreadable name")));
    }
}

/// Each function is found as a C library finds it, is code, and can be unwound through; each has its alias.
fn functions(image: &Image<'_>, say: &mut Say<'_>) {
    let Ok(tables) = Tables::new(image.bytes) else { return };
    let unwind = match unwind::Table::new(image) {
        Ok(table) => Some(table),
        Err(reason) => {
            say(format!("the unwind table (.eh_frame_hdr) is damaged: {reason}"));
            None
        }
    };
    for function in FUNCTIONS {
        let name = format!("{PREFIX}{function}");
        for (table, found) in [
            ("DT_HASH", tables.find(&name, VERSION)),
            ("DT_GNU_HASH", tables.find_gnu(&name, VERSION)),
            ("DT_HASH", tables.find(function, VERSION)),
            ("DT_GNU_HASH", tables.find_gnu(function, VERSION)),
        ]
        .into_iter()
        .filter_map(|(table, found)| Some((table, found.err()?)))
        {
            say(match found {
                NotFound::Absent => {
                    format!("{table} does not lead to {name}, or to {function}, in version {VERSION}")
                }
                NotFound::Broken(what) => {
                    format!("{table} does not lead to {name} or {function}: {what} cannot be read")
                }
            });
        }
        let symbol = |name: &str| image.file.dynamic_symbols().find(|symbol| symbol.name() == Ok(name));
        let (Some(long), Some(alias)) = (symbol(&name), symbol(function)) else { continue };
        let (long, alias) = (long.elf_symbol(), alias.elf_symbol());
        if long.st_type() != elf::STT_FUNC || long.st_bind() != elf::STB_GLOBAL {
            say(format!("{name} is not a global function"));
        }
        if alias.st_type() != elf::STT_FUNC || alias.st_bind() != elf::STB_WEAK {
            say(format!("{function} is not a weak function; a program's own has to win"));
        }
        let place = |symbol: &elf::Sym64<Endianness>| (symbol.st_value(ENDIAN), symbol.st_size(ENDIAN));
        if place(long) != place(alias) {
            say(format!("{function} is not another name for {name}: address or size differ"));
        }
        let (address, size) = place(long);
        if !is_code(image, address, size) {
            say(format!("{name} does not lie in a section of code"));
        }
        if let Some(Err(reason)) = unwind.as_ref().map(|table| table.covers(address, size)) {
            say(format!("nobody can unwind through {name}: {reason}"));
        }
    }
}

fn is_code(image: &Image<'_>, address: u64, size: u64) -> bool {
    size != 0
        && image.file.elf_section_table().iter().any(|section| {
            let start = section.sh_addr(ENDIAN);
            section.sh_flags(ENDIAN).contains(elf::SHF_EXECINSTR)
                && address >= start
                && address.checked_add(size).is_some_and(|end| end <= start + section.sh_size(ENDIAN))
        })
}

/// Nothing else is exported, and nothing is asked for.
fn exports(image: &Image<'_>, say: &mut Say<'_>) {
    for symbol in image.file.dynamic_symbols() {
        let name = symbol.name().unwrap_or("?");
        if symbol.is_undefined() {
            say(format!("{name} is undefined; nobody looks for it elsewhere"));
        } else if !FUNCTIONS.contains(&name.strip_prefix(PREFIX).unwrap_or(name)) && name != VERSION {
            say(format!("{name} is exported and should not be"));
        }
    }
    let is_version = |symbol: &object::read::elf::ElfSymbol64<'_, '_>| {
        symbol.name() == Ok(VERSION) && symbol.section() == object::SymbolSection::Absolute
    };
    if !image.file.dynamic_symbols().any(|symbol| is_version(&symbol)) {
        say(format!("there is no absolute object {VERSION}, the version's own symbol"));
    }
}

/// Two definitions: the base, which is the name of the whole, and the version of the functions.
fn versions(image: &Image<'_>, say: &mut Say<'_>) {
    let Ok(tables) = Tables::new(image.bytes) else { return };
    match tables.versions() {
        Ok(versions) => {
            let expected = [(1, true, SONAME), (2, false, VERSION)];
            if versions != expected {
                say(format!("the versions (number, whether base, name) are {versions:?}, not {expected:?}"));
            }
        }
        Err(reason) => say(reason.to_string()),
    }
}

/// Which Linux, and which build.
fn notes(image: &Image<'_>, say: &mut Say<'_>) {
    let header = image.file.elf_program_headers().iter().find(|header| header.p_type(ENDIAN) == elf::PT_NOTE);
    let notes = header.and_then(|header| header.notes(ENDIAN, image.bytes).ok().flatten());
    let (mut version, mut build_id) = (None, None);
    for note in notes.into_iter().flatten().flatten() {
        match (note.name(), note.n_type(ENDIAN).0) {
            (b"Linux", 0) => version = Some(note.desc().to_vec()),
            (b"GNU", 3) => build_id = Some(note.desc().to_vec()),
            _ => {}
        }
    }
    match version.as_deref() {
        None => {
            say("there is no note of owner \"Linux\" and kind 0, which tells the kernel's version".into())
        }
        Some([_, _, _, 0]) => {}
        Some(other) => say(format!(
            "the version in the note of owner \"Linux\" is {other:?}, not four bytes of which the last is 0"
        )),
    }
    if build_id.is_none_or(|id| id.len() != 20) {
        say("there is no build id of 20 bytes; debuggers find an image's symbols by it".into());
    }
}

/// The code looks for the data pages where the kernel maps them: right below the image.
///
/// Seen in `lea register, [rip + distance]`: the only instruction whose target lies before the image.
fn data_pages(image: &Image<'_>, say: &mut Say<'_>) {
    let text = image.section(".text");
    let start = image
        .file
        .elf_section_table()
        .section_by_name(ENDIAN, b".text")
        .map_or(0, |(_, text)| text.sh_addr(ENDIAN));
    let expected = -((DATA_PAGES * PAGE_SIZE) as i64);
    let mut seen = false;
    for (at, bytes) in text.windows(7).enumerate() {
        // REX prefix of a 64-bit operation, opcode, and a second byte that says "relative to the next instruction".
        let [0x48 | 0x4c, 0x8d, form, distance @ ..] = bytes else { continue };
        if form & 0xc7 != 5 {
            continue;
        }
        let distance = i32::from_le_bytes(distance.try_into().expect("seven bytes less three"));
        let target = start as i64 + at as i64 + 7 + i64::from(distance);
        if target == expected {
            seen = true;
        } else if target < 0 {
            say(format!(
                "the code looks for data {} bytes below the image; the pages begin {} below",
                -target, -expected
            ));
        }
    }
    if !seen {
        say(format!("no code refers to the data pages, {} bytes below the image", -expected));
    }
}

/// The counter is read by the instructions that the kernel looks for, to put better ones in their place.
fn counter(image: &Image<'_>, say: &mut Say<'_>) {
    const RDTSC: [u8; 2] = [0x0f, 0x31];
    let text = image.section(".text");
    let count = |wanted: &[u8]| text.windows(wanted.len()).filter(|bytes| *bytes == wanted).count();
    let (all, fenced) = (count(&RDTSC), count(&FENCED));
    if fenced == 0 {
        say("nothing reads the counter".into());
    }
    if all != fenced {
        say(format!(
            "the counter is read in {all} places, but only in {fenced} of them right behind a fence"
        ));
    }
}
