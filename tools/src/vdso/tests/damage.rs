//! Every rule of the checker can fail: each test damages a sound image in one way and sees the matching complaint.

use super::super::check;
use super::super::check::{PREFIX, Problem};
use super::super::lookup::{Bytes, Tables, tag};
use super::super::place::VERSION;
use super::{image, image_without_namespaces};
use gnomon_vdso::counter::FENCED;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol};

#[test]
fn the_image_is_sound() {
    let report = check(image()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(report.follows_namespaces);
    assert!(report.text_size < 4608, "the code has grown to {} bytes", report.text_size);
    let mut names: Vec<_> = report.functions.iter().map(|function| function.name.as_str()).collect();
    names.sort();
    assert_eq!(names, ["clock_getres", "clock_gettime", "getcpu", "getrandom", "gettimeofday", "time"]);
}

#[test]
fn without_the_feature_there_is_no_namespace_code() {
    let report = check(image_without_namespaces()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(!report.follows_namespaces);
    let with = check(image()).unwrap();
    assert!(report.text_size < with.text_size, "{} and {} bytes of code", report.text_size, with.text_size);
}

/// The complaints about an image that `damage` has been at.
fn complaints(damage: impl FnOnce(&mut Vec<u8>)) -> Vec<Problem> {
    let mut damaged = image().to_vec();
    damage(&mut damaged);
    assert_ne!(damaged, image(), "nothing was damaged");
    check(&damaged).expect_err("the damage went unnoticed")
}

/// Asserts that some complaint is of this rule and has these words.
#[track_caller]
fn expect(problems: Vec<Problem>, rule: &str, words: &str) {
    let found = problems.iter().any(|problem| problem.rule == rule && problem.message.contains(words));
    assert!(found, "no complaint \"{rule}: ...{words}...\" among {problems:#?}");
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Where the program header of this kind is.
fn program_header(kind: u32) -> usize {
    let bytes = Bytes(image());
    (0..4).map(|index| 64 + index * 56).find(|at| bytes.word(*at) == Some(kind)).expect("there is one")
}

/// Where the dynamic entry with this tag is.
fn dynamic_entry(tag: u64) -> usize {
    let tables = Tables::new(image()).expect("sound");
    let index = tables.dynamic.iter().position(|(this, _)| *this == tag).expect("there is one");
    section(".dynamic").0 + index * 16
}

/// Where a section lies in the file, and its size.
fn section(name: &str) -> (usize, usize) {
    let file: ElfFile64 = ElfFile64::parse(image()).unwrap();
    let (at, size) = file.section_by_name(name).expect("there is one").file_range().unwrap();
    (at as usize, size as usize)
}

/// Where the header of a section is.
fn section_header(name: &str) -> usize {
    let file: ElfFile64 = ElfFile64::parse(image()).unwrap();
    let index = file.section_by_name(name).expect("there is one").index().0;
    Bytes(image()).place(40).unwrap() + index * 64
}

/// Where a symbol is in the table, and its number.
fn symbol(name: &str) -> (usize, usize) {
    let file: ElfFile64 = ElfFile64::parse(image()).unwrap();
    let index =
        file.dynamic_symbols().find(|symbol| symbol.name() == Ok(name)).expect("there is one").index().0;
    (section(".dynsym").0 + index * 24, index)
}

#[test]
fn no_elf_file() {
    expect(complaints(|image| image[0] = 0), "ELF", "not a 64-bit ELF file");
    expect(complaints(|image| image.truncate(60)), "ELF", "not a 64-bit ELF file");
    expect(complaints(Vec::clear), "ELF", "not a 64-bit ELF file");
}

#[test]
fn file_header() {
    expect(complaints(|image| put(image, 16, &[2, 0])), "file header", "not ET_DYN");
    expect(complaints(|image| put(image, 18, &[183, 0])), "file header", "not x86-64");
    expect(complaints(|image| put(image, 24, &[1])), "file header", "entry point");
}

#[test]
fn size() {
    expect(complaints(|image| image.resize(8193, 0)), "size", "more than two pages");
}

#[test]
fn segments() {
    let (load, dynamic) = (program_header(1), program_header(2));
    let (note, unwind) = (program_header(4), program_header(0x6474_e550));
    expect(complaints(|image| put(image, load + 4, &[7])), "segments", "rights are rwx, not r-x");
    expect(complaints(|image| put(image, load + 16, &[0, 0x10])), "segments", "does not begin with the file");
    expect(complaints(|image| put(image, load + 42, &[1])), "segments", "larger in memory");
    expect(complaints(|image| put(image, load + 48, &[0, 0, 0x20])), "segments", "not to a page");
    expect(complaints(|image| put(image, note, &[1])), "segments", "2 segments to load");
    expect(complaints(|image| put(image, note, &[7])), "segments", "0 headers PT_NOTE");
    expect(complaints(|image| put(image, unwind, &[1, 0, 0, 0x60])), "segments", "0 headers PT_GNU_EH_FRAME");
    expect(complaints(|image| put(image, dynamic + 4, &[6])), "segments", "rights of PT_DYNAMIC are rw-");
    expect(complaints(|image| put(image, note + 32, &[0, 0x20])), "segments", "PT_NOTE does not lie in");
    expect(complaints(|image| put(image, 56, &[3])), "segments", "program headers, not 4");
}

#[test]
fn sections() {
    let header = section_header(".eh_frame");
    expect(complaints(|image| put(image, header + 8, &[3])), "sections", ".eh_frame is data");
    expect(complaints(|image| put(image, header + 4, &[8])), "sections", "no bytes in the file");
    let name = section(".shstrtab").0 + Bytes(image()).word(header).unwrap() as usize;
    expect(complaints(|image| put(image, name, b".got.plt\0")), "sections", "somebody would have to fill in");
    expect(complaints(|image| put(image, 60, &[0; 4])), "sections", "no section headers");
}

#[test]
fn relocations() {
    let header = section_header(".eh_frame");
    expect(complaints(|image| put(image, header + 4, &[4])), "relocations", ".eh_frame holds relocations");
    let entry = dynamic_entry(tag::STRSZ);
    for (tag, name) in
        [(7, "DT_RELA"), (17, "DT_REL"), (22, "DT_TEXTREL"), (23, "DT_JMPREL"), (36, "DT_RELR")]
    {
        expect(complaints(|image| put(image, entry, &[tag])), "relocations", name);
    }
}

#[test]
fn dynamic_segment() {
    // Tag 21 is DT_DEBUG, which means nothing here.
    let without = |tag| complaints(|image| put(image, dynamic_entry(tag), &21u64.to_le_bytes()));
    expect(without(tag::HASH), "dynamic segment", "static musl");
    expect(without(tag::GNU_HASH), "dynamic segment", "DT_GNU_HASH is missing");
    expect(without(tag::VERSYM), "dynamic segment", "DT_VERSYM is missing");
    expect(without(tag::VERDEF), "dynamic segment", "DT_VERDEF is missing");
    expect(without(tag::STRSZ), "dynamic segment", "DT_STRSZ is missing");
    expect(without(tag::SONAME), "dynamic segment", "DT_SONAME is missing");
    expect(without(tag::SYMENT), "dynamic segment", "DT_SYMENT");
    expect(without(tag::STRTAB), "dynamic segment", "the string table cannot be read");
    expect(without(tag::SYMTAB), "dynamic segment", "the symbol table cannot be read");
    expect(without(tag::FLAGS), "dynamic segment", "BIND_NOW");
    let flags = dynamic_entry(tag::FLAGS) + 8;
    expect(complaints(|image| put(image, flags, &[8])), "dynamic segment", "not symbolic");
    let name = Tables::new(image()).unwrap().entry(tag::SONAME).unwrap();
    let name = section(".dynstr").0 + name;
    expect(
        complaints(|image| image[name] = b'L'),
        "dynamic segment",
        "is Linux-vdso.so.1, not linux-vdso.so.1",
    );
    let soname = dynamic_entry(tag::SONAME);
    expect(complaints(|image| put(image, soname, &[1])), "dynamic segment", "needs another library");
}

#[test]
fn hash_tables() {
    let buckets = |table: &str, at: usize| {
        let (start, size) = section(table);
        complaints(|image| image[start + at..start + size].fill(0))
    };
    expect(buckets(".hash", 0), "functions", "DT_HASH does not lead to __vdso_time or time: the hash table");
    expect(buckets(".hash", 8), "functions", "DT_HASH does not lead to __vdso_time");
    expect(buckets(".gnu.hash", 0), "functions", "DT_GNU_HASH does not lead to __vdso_time");
    expect(buckets(".gnu.hash", 16), "functions", "DT_GNU_HASH does not lead to __vdso_time");
    // Chains that lead nowhere, or in a circle.
    let (hash, size) = section(".hash");
    expect(complaints(|image| image[hash + 8..hash + size].fill(0xff)), "functions", "DT_HASH does not lead");
    let circle: Vec<u8> =
        [1u32, 11, 1].iter().flat_map(|word| word.to_le_bytes()).chain([1, 0, 0, 0].repeat(11)).collect();
    expect(complaints(|image| put(image, hash, &circle)), "functions", "DT_HASH does not lead");
}

#[test]
fn functions() {
    let ((long, _), (alias, _)) = (symbol("__vdso_time"), symbol("time"));
    expect(complaints(|image| image[long + 4] = 0x22), "functions", "__vdso_time is not a global function");
    expect(complaints(|image| image[alias + 4] = 0x12), "functions", "time is not a weak function");
    expect(complaints(|image| image[alias + 4] = 0x21), "functions", "time is not a weak function");
    expect(
        complaints(|image| image[alias + 8] ^= 1),
        "functions",
        "time is not another name for __vdso_time",
    );
    let outside = |image: &mut Vec<u8>| [long, alias].iter().for_each(|at| put(image, at + 8, &[0, 0, 0, 0]));
    expect(complaints(outside), "functions", "__vdso_time does not lie in a section of code");
    let name = section(".dynstr").0 + Bytes(image()).word(long).unwrap() as usize;
    expect(
        complaints(|image| image[name + PREFIX.len()] = b'd'),
        "functions",
        "does not lead to __vdso_time",
    );
}

#[test]
fn exports() {
    let (long, _) = symbol("__vdso_time");
    expect(complaints(|image| put(image, long + 6, &[0, 0])), "exports", "__vdso_time is undefined");
    let name = section(".dynstr").0 + Bytes(image()).word(long).unwrap() as usize;
    expect(complaints(|image| image[name + PREFIX.len()] = b'd'), "exports", "__vdso_dime is exported");
}

#[test]
fn versions() {
    let number = section(".gnu.version").0 + symbol("__vdso_time").1 * 2;
    expect(complaints(|image| image[number] = 1), "functions", "does not lead to __vdso_time");
    let definitions = section(".gnu.version_d").0;
    expect(complaints(|image| image[definitions + 2] = 0), "versions", "(1, false, \"linux-vdso.so.1\")");
    expect(complaints(|image| image[definitions + 4] = 3), "versions", "(3, true");
    expect(complaints(|image| put(image, definitions + 16, &[0, 0, 0, 1])), "versions", "cannot be read");
    // The name is there twice: as the symbol's and as the version's. Which is which is the linker's business.
    let names = image().windows(VERSION.len()).enumerate().filter(|(_, bytes)| *bytes == VERSION.as_bytes());
    let damaged: Vec<_> = names.flat_map(|(at, _)| complaints(|image| image[at] = b'l')).collect();
    expect(damaged, "versions", "lINUX_2.6");
}

#[test]
fn the_versions_own_symbol() {
    let names = image().windows(VERSION.len()).enumerate().filter(|(_, bytes)| *bytes == VERSION.as_bytes());
    let damaged: Vec<_> = names.flat_map(|(at, _)| complaints(|image| image[at] = b'l')).collect();
    expect(damaged, "exports", "there is no absolute object LINUX_2.6");
}

#[test]
fn notes() {
    let (start, size) = section(".note");
    let linux = start + image()[start..start + size].windows(5).position(|bytes| bytes == b"Linux").unwrap();
    let gnu = start + image()[start..start + size].windows(3).position(|bytes| bytes == b"GNU").unwrap();
    expect(complaints(|image| image[linux] = b'l'), "notes", "no note of owner \"Linux\"");
    expect(complaints(|image| image[linux - 4] = 1), "notes", "no note of owner \"Linux\"");
    expect(complaints(|image| image[linux + 11] = 1), "notes", "not four bytes of which the last is 0");
    expect(complaints(|image| image[gnu] = b'g'), "notes", "no build id");
}

#[test]
fn unwind_tables() {
    let (header, _) = section(".eh_frame_hdr");
    expect(complaints(|image| image[header] = 2), "functions", "the unwind table (.eh_frame_hdr) is damaged");
    expect(complaints(|image| image[header + 12..header + 28].rotate_left(8)), "functions", "not sorted");
    expect(complaints(|image| image[header + 12] += 1), "functions", "the table has no entry for it");
    expect(complaints(|image| image[header + 10] = 1), "functions", "it ends too early");
    let first = Bytes(image()).word(header + 16).unwrap() as i32;
    let description = header.wrapping_add_signed(first as isize);
    expect(complaints(|image| image[description + 12] ^= 1), "functions", "its description is of");
    let name =
        section(".shstrtab").0 + Bytes(image()).word(section_header(".eh_frame_hdr")).unwrap() as usize;
    expect(complaints(|image| image[name] = b'x'), "functions", "there is none");
}

#[test]
fn data_pages() {
    let (start, size) = section(".text");
    let references: Vec<_> = (start..start + size - 7)
        .filter(|at| matches!(image()[*at..*at + 3], [0x48 | 0x4c, 0x8d, form] if form & 0xc7 == 5))
        .map(|at| at + 3)
        .collect();
    assert!(!references.is_empty());
    let mut nearer = references.clone();
    nearer.truncate(1);
    let shift = |places: &[usize]| complaints(|image| places.iter().for_each(|at| image[at + 1] += 0x10));
    expect(shift(&nearer), "data pages", "looks for data 20480 bytes below");
    let none = complaints(|image| references.iter().for_each(|at| image[at - 2] = 0x90));
    expect(none, "data pages", "no code refers");
}

#[test]
fn the_counter_is_read_in_one_way() {
    let fence = image().windows(FENCED.len()).position(|bytes| bytes == FENCED).expect("the counter is read");
    expect(complaints(|image| image[fence + 2] = 0xf0), "counter", "right behind a fence");
}
