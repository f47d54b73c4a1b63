//! Programs in memory, whole and damaged, are loaded, and what they would find is looked at.

use super::*;
use crate::{
    abi::UserPointer,
    arch::{Hardware, Machine, Permissions},
    mm::tests::support::{
        IMAGE, SYSTEM, TestFile, TestSpecial, held, load as load_byte, space_with, with_frames_left,
    },
    mm::{address_space::RegionName, regions::RegionFlags},
};
use alloc::{collections::BTreeMap, string::String, vec};
use elf::abi;
use proptest::prelude::*;

const READ: u32 = abi::PF_R;
const WRITE: u32 = abi::PF_W;
const EXECUTE: u32 = abi::PF_X;

/// By how much this machine's addresses end before those of Linux, which the tests are written in.
const SHORTER: usize = 0x7fff_ffff_f000 - Hardware::USER_END;
/// Where Linux puts a program that can lie anywhere: two thirds up.
const ANYWHERE: usize = (Hardware::USER_END / 3 * 2) & !0xfff;

/// A program header: kind, flags, offset, address, bytes in the file, bytes in memory, alignment.
#[derive(Clone, Copy, Debug)]
struct Header(u32, u32, u64, u64, u64, u64, u64);

/// Builds ELF files.
#[derive(Clone, Debug)]
struct Builder {
    kind: u16,
    machine: u16,
    entry: u64,
    headers: Vec<Header>,
    length: usize,
    contents: Vec<(usize, Vec<u8>)>,
}

impl Builder {
    /// Text of one page at `base`, data of 0x100 bytes in the file and 0x3000 in memory on the third.
    fn new(kind: u16, base: u64) -> Self {
        let headers = vec![
            Header(abi::PT_LOAD, READ | EXECUTE, 0, base, 0x800, 0x800, 0x1000),
            Header(abi::PT_LOAD, READ | WRITE, 0x1f00, base + 0x2f00, 0x100, 0x3000, 0x1000),
            Header(abi::PT_GNU_STACK, READ | WRITE, 0, 0, 0, 0, 16),
        ];
        let contents = vec![(0x1f00, b"data".to_vec()), (0x2000, vec![0xee; 0x1000])];
        Self { kind, machine: abi::EM_X86_64, entry: base + 0x400, headers, length: 0x3000, contents }
    }

    fn with(mut self, header: Header) -> Self {
        self.headers.push(header);
        self
    }

    fn with_interpreter(mut self, path: &[u8]) -> Self {
        self.contents.push((0x700, path.to_vec()));
        self.with(Header(abi::PT_INTERP, READ, 0x700, 0x700, path.len() as u64, path.len() as u64, 1))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        for (at, content) in &self.contents {
            bytes[*at..*at + content.len()].copy_from_slice(content);
        }
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend([self.entry, 64, 0].map(u64::to_le_bytes).concat());
        file.extend(0u32.to_le_bytes());
        file.extend([64, 56, self.headers.len() as u16, 64, 0, 0].map(u16::to_le_bytes).concat());
        for Header(kind, flags, offset, address, file_size, memory_size, alignment) in &self.headers {
            file.extend([*kind, *flags].map(u32::to_le_bytes).concat());
            let words = [*offset, *address, *address, *file_size, *memory_size, *alignment];
            file.extend(words.map(u64::to_le_bytes).concat());
        }
        bytes[..file.len()].copy_from_slice(&file);
        bytes
    }

    fn file(&self) -> Arc<dyn PageSource> {
        TestFile::new(&self.bytes())
    }
}

fn strings(arguments: &[&str], environment: &[&str]) -> Arguments {
    fn bytes<'a>(strings: &[&'a str]) -> Vec<&'a [u8]> {
        strings.iter().map(|string| string.as_bytes()).collect()
    }
    Arguments::from_kernel(&bytes(arguments), &bytes(environment), 8 << 20).unwrap()
}

fn load_with(
    program: Arc<dyn PageSource>,
    arguments: &Arguments,
    open: Open<'_, Arc<dyn PageSource>>,
) -> Result<Loaded> {
    load_in(TestSpecial::outside(), program, arguments, open)
}

fn load_in(
    special: Arc<TestSpecial>,
    program: Arc<dyn PageSource>,
    arguments: &Arguments,
    open: Open<'_, Arc<dyn PageSource>>,
) -> Result<Loaded> {
    load(ExecRequest {
        program,
        path: b"/bin/test",
        arguments,
        runs_as: RunsAs { uid: 1, euid: 2, gid: 3, egid: 4, secure: true },
        special,
        limits: Limits::default(),
        random: *b"sixteen  randoms",
        randomized: false,
        open_interpreter: open,
    })
}

fn load_alone(program: &Builder) -> Result<Loaded> {
    load_with(program.file(), &strings(&["test"], &[]), &mut |_| Err(Errno::ENOENT))
}

/// Regions as `start-end perms name`, those near the end of addresses as on Linux.
fn map(space: &AddressSpace) -> Vec<String> {
    let mut lines = Vec::new();
    space.regions(&mut |region| {
        let name = match region.name {
            RegionName::Anonymous => "",
            RegionName::Heap => "[heap]",
            RegionName::Stack => "[stack]",
            RegionName::Special(kind) => kind.name(),
            RegionName::Source(_) => "file",
        };
        let letter = |wanted, letter| if region.permissions.contains(wanted) { letter } else { '-' };
        let moved = if region.range.start > Hardware::USER_END / 8 * 7 { SHORTER } else { 0 };
        lines.push(alloc::format!(
            "{:x}-{:x} {}{}{} {name}",
            region.range.start + moved,
            region.range.end + moved,
            letter(Permissions::READ, 'r'),
            letter(Permissions::WRITE, 'w'),
            letter(Permissions::EXECUTE, 'x'),
        ));
    });
    lines
}

#[test]
fn a_program_with_fixed_addresses_lies_where_it_says() {
    let program = Builder::new(abi::ET_EXEC, 0x40_0000);
    let Loaded { space, entry, .. } = load_alone(&program).unwrap();
    assert_eq!(entry, 0x40_0400);
    assert_eq!(
        map(&space),
        [
            "400000-401000 r-x file",
            "402000-403000 rw- file",
            "403000-406000 rw- ",
            "7ffffffc6000-7ffffffe7000 rw- [stack]",
            "7fffffff7000-7fffffffb000 r-- [vvar]",
            "7fffffffb000-7fffffffd000 r-- [vvar_vclock]",
            "7fffffffd000-7ffffffff000 r-x [vdso]",
        ]
    );
    let mut data = [0; 5];
    space.read_bytes(0x40_2f00, &mut data).unwrap();
    assert_eq!(&data, b"data\0");
    assert_eq!(load_byte(&space, 0x40_3000), Ok(0), "what follows in the file is not the program's");
    assert_eq!(
        [load_byte(&space, 0x7fff_ffff_7000 - SHORTER), load_byte(&space, 0x7fff_ffff_d000 - SHORTER)],
        [Ok(SYSTEM), Ok(IMAGE)]
    );
    let layout = space.layout();
    assert_eq!(
        (layout.code, layout.data, layout.heap),
        (0x40_0000..0x40_0800, 0x40_2f00..0x40_3000, 0x40_6000..0x40_6000)
    );
    assert_eq!(space.set_break(0x40_6123), 0x40_6123);
    assert_eq!(load_byte(&space, 0x40_6fff), Ok(0));
    assert_eq!(space.set_break(0), 0x40_6123);
}

#[test]
fn zeros_follow_the_file_in_the_last_page() {
    let mut program = Builder::new(abi::ET_EXEC, 0x40_0000);
    program.headers[1] = Header(abi::PT_LOAD, READ | WRITE, 0x2000, 0x40_3000, 0x10, 0x2000, 0x1000);
    let Loaded { space, .. } = load_alone(&program).unwrap();
    assert_eq!([load_byte(&space, 0x40_300f), load_byte(&space, 0x40_3010)], [Ok(0xee), Ok(0)]);
    assert_eq!([load_byte(&space, 0x40_3fff), load_byte(&space, 0x40_4fff)], [Ok(0), Ok(0)]);
    program.headers[1].1 = READ;
    let Loaded { space, .. } = load_alone(&program).unwrap();
    assert_eq!(load_byte(&space, 0x40_3010), Ok(0xee), "what cannot be written is left as it is");
}

#[test]
fn a_program_that_can_go_anywhere_goes_below_the_heaps_room() {
    let program = Builder::new(abi::ET_DYN, 0);
    let Loaded { space, entry, .. } = load_alone(&program).unwrap();
    assert_eq!(entry, ANYWHERE + 0x400);
    assert_eq!(map(&space)[0], alloc::format!("{ANYWHERE:x}-{:x} r-x file", ANYWHERE + 0x1000));
    assert_eq!(space.layout().heap.start, ANYWHERE + 0x6000);
    // Aligned as it asks, and linked to an address that is not 0.
    let mut program = Builder::new(abi::ET_DYN, 0x20_0000);
    program.headers[0].6 = 0x20_0000;
    let Loaded { entry, .. } = load_alone(&program).unwrap();
    assert_eq!(entry, (ANYWHERE & !0x1f_ffff) + 0x400);
}

#[test]
fn an_interpreter_is_loaded_too_and_runs_first() {
    let program = Builder::new(abi::ET_DYN, 0).with_interpreter(b"/lib/ld.so\0");
    let mut linker = Builder::new(abi::ET_DYN, 0);
    linker.headers[0].6 = 0x1_0000;
    let mut asked = Vec::new();
    let mut open = |path: &[u8]| {
        asked.push(path.to_vec());
        Ok(linker.file())
    };
    let loaded = load_with(program.file(), &strings(&["x"], &[]), &mut open).unwrap();
    assert_eq!(asked, [b"/lib/ld.so"]);
    let told = told(&loaded);
    let base = told.auxiliary[&7] as usize;
    assert_eq!(base % 0x1_0000, 0);
    assert!(
        base < loaded.space.layout().mapping_ceiling
            && base > loaded.space.layout().mapping_ceiling - 0x2_0000
    );
    assert_eq!(loaded.entry, base + 0x400);
    assert_eq!((told.auxiliary[&9], told.auxiliary[&3]), (ANYWHERE as u64 + 0x400, ANYWHERE as u64 + 0x40));
    for (bad, errno) in [
        (Err(Errno::EACCES), Errno::EACCES),
        (Ok(TestFile::new(b"#!/bin/sh\n") as Arc<dyn PageSource>), Errno::EIO),
        (Ok(TestFile::new(&[1; 100]) as Arc<dyn PageSource>), Errno::ELIBBAD),
    ] {
        let result = load_with(program.file(), &strings(&["x"], &[]), &mut |_| bad.clone());
        assert_eq!(result.unwrap_err(), errno);
    }
}

/// What a program finds at its stack pointer.
struct Told {
    arguments: Vec<String>,
    environment: Vec<String>,
    auxiliary: BTreeMap<u64, u64>,
    order: Vec<u64>,
}

fn told(loaded: &Loaded) -> Told {
    let Loaded { space, stack, .. } = loaded;
    let word = |index: usize| space.read(UserPointer::<u64>::new(*stack).element(index)).unwrap();
    let string = |at: u64| String::from_utf8(space.read_string(at as usize, 1 << 20).unwrap()).unwrap();
    let count = word(0) as usize;
    let arguments = (1..=count).map(|index| string(word(index))).collect();
    assert_eq!(word(count + 1), 0);
    let mut index = count + 2;
    let mut environment = Vec::new();
    while word(index) != 0 {
        environment.push(string(word(index)));
        index += 1;
    }
    let mut order = Vec::new();
    let mut auxiliary = BTreeMap::new();
    loop {
        index += 1;
        let (kind, value) = (word(index), word(index + 1));
        index += 1;
        order.push(kind);
        auxiliary.insert(kind, value);
        if kind == 0 {
            return Told { arguments, environment, auxiliary, order };
        }
    }
}

#[test]
fn a_program_is_told_what_linux_tells() {
    let arguments = strings(&["test", "", "-x"], &["HOME=/", "A="]);
    let program = Builder::new(abi::ET_EXEC, 0x40_0000);
    let loaded = load_with(program.file(), &arguments, &mut |_| Err(Errno::ENOENT)).unwrap();
    assert_eq!(loaded.stack % 16, 0);
    let told = told(&loaded);
    assert_eq!(told.arguments, ["test", "", "-x"]);
    assert_eq!(told.environment, ["HOME=/", "A="]);
    assert_eq!(told.order, [33, 51, 16, 6, 17, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14, 23, 25, 26, 31, 15, 0]);
    let features = Hardware::processor_features();
    for (kind, value) in [
        (33, 0x7fff_ffff_d000 - SHORTER as u64),
        (51, features.minimum_signal_stack as u64),
        (16, features.hwcap),
        (26, features.hwcap2),
        (6, 4096),
        (17, 100),
        (3, 0x40_0040),
        (4, 56),
        (5, 3),
        (7, 0),
        (8, 0),
        (9, 0x40_0400),
        (11, 1),
        (12, 2),
        (13, 3),
        (14, 4),
        (23, 1),
    ] {
        assert_eq!(told.auxiliary[&kind], value, "auxiliary vector, type {kind}");
    }
    let space = &loaded.space;
    let string = |kind| space.read_string(told.auxiliary[&kind] as usize, 100).unwrap();
    assert_eq!((&string(31)[..], &string(15)[..]), (&b"/bin/test"[..], &b"x86_64"[..]));
    let mut random = [0; 16];
    space.read_bytes(told.auxiliary[&25] as usize, &mut random).unwrap();
    assert_eq!(&random, b"sixteen  randoms");
    assert_eq!(space.auxiliary_vector().len(), told.order.len() * 2);
    let layout = space.layout();
    let bytes = |range: core::ops::Range<usize>| {
        let mut bytes = vec![0; range.len()];
        space.read_bytes(range.start, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(layout.arguments), b"test\0\0-x\0");
    assert_eq!(bytes(layout.environment), b"HOME=/\0A=\0");
    assert_eq!(layout.stack_start, loaded.stack);
    // The eight bytes above everything are zero, and they are the last of the stack.
    assert_eq!(bytes(0x7fff_fffe_6ff8 - SHORTER..0x7fff_fffe_7000 - SHORTER), [0; 8]);
}

#[test]
fn thousands_of_long_strings_arrive_and_too_many_do_not() {
    let long = "x".repeat(1000);
    let many: Vec<&str> = core::iter::repeat_n(&long[..], 1500).collect();
    let arguments = strings(&many, &many[..500]);
    let loaded =
        load_with(Builder::new(abi::ET_DYN, 0).file(), &arguments, &mut |_| Err(Errno::ENOENT)).unwrap();
    let told = told(&loaded);
    assert_eq!((told.arguments.len(), told.environment.len()), (1500, 500));
    assert!(told.arguments.iter().chain(&told.environment).all(|string| *string == long));
    // A quarter of 8 MiB, 1009 bytes each: 2078 of them.
    let bytes: Vec<&[u8]> = core::iter::repeat_n(long.as_bytes(), 2100).collect();
    assert_eq!(Arguments::from_kernel(&bytes, &[], 8 << 20).err(), Some(Errno::E2BIG));
    assert!(Arguments::from_kernel(&bytes[..2070], &[], 8 << 20).is_ok());
    assert_eq!(
        Arguments::from_kernel(&bytes[..200], &[], 4096).err(),
        Some(Errno::E2BIG),
        "128 KiB at least"
    );
}

#[test]
fn strings_come_from_a_program_with_linux_limits() {
    const AT: usize = 0x100_0000;
    let space = space_with(TestSpecial::outside());
    let memory = crate::mm::tests::support::anonymous(100, Permissions::READ | Permissions::WRITE);
    space.map(crate::mm::tests::support::at(AT, memory)).unwrap();
    let array = |pointers: &[usize]| space.write_array(UserPointer::new(AT), pointers).unwrap();
    space.write_bytes(AT + 0x1000, b"one\0two\0\0").unwrap();
    array(&[AT + 0x1000, AT + 0x1004, AT + 0x1008, 0, AT + 0x1004, 0]);
    let arguments = Arguments::from_user(&space, AT, AT + 32, 8 << 20).unwrap();
    assert_eq!((arguments.count(), arguments.environment_count(), arguments.bytes()), (3, 1, 13));
    let none = Arguments::from_user(&space, 0, 0, 8 << 20).unwrap();
    assert_eq!((none.count(), none.environment_count(), none.bytes()), (1, 0, 1), "one argument, empty");
    let error = |arguments, environment| Arguments::from_user(&space, arguments, environment, 8 << 20).err();
    assert_eq!([error(8, 0), error(0, 8), error(AT + 100 * 4096, 0)], [Some(Errno::EFAULT); 3]);
    array(&[0x10, 0]);
    assert_eq!(error(AT, 0), Some(Errno::EFAULT));
    space.write_bytes(AT + 0x1000, &vec![b'x'; 32 * 4096]).unwrap();
    array(&[AT + 0x1001, 0]);
    assert!(error(AT, 0).is_none(), "128 KiB with the NUL");
    array(&[AT + 0x1000, 0]);
    assert_eq!(error(AT, 0), Some(Errno::E2BIG));
}

#[test]
fn scripts_lead_to_their_interpreter_with_arguments_in_front() {
    let files: BTreeMap<&[u8], Arc<dyn PageSource>> = BTreeMap::from([
        (&b"/script"[..], TestFile::new(b"#!/middle -e -x\n") as _),
        (b"/middle", TestFile::new(b"#! /program\n") as _),
        (b"/program", Builder::new(abi::ET_EXEC, 0x40_0000).file()),
        (b"/loop", TestFile::new(b"#!/loop\n") as _),
        (b"/lost", TestFile::new(b"#!/nowhere\n") as _),
    ]);
    let mut open = |path: &[u8]| files.get(path).cloned().ok_or(Errno::ENOENT);
    let mut arguments = strings(&["called", "a", "b"], &["E=1"]);
    let program =
        follow_scripts(files[&b"/script"[..]].clone(), b"/script", &mut arguments, &mut open).unwrap();
    let loaded = load_with(program, &arguments, &mut |_| Err(Errno::ENOENT)).unwrap();
    let told = told(&loaded);
    assert_eq!(told.arguments, ["/program", "/middle", "-e -x", "/script", "a", "b"]);
    assert_eq!(told.environment, ["E=1"]);
    let layout = loaded.space.layout();
    assert_eq!(layout.environment.len(), 4);
    let mut error = |path: &'static [u8]| {
        follow_scripts(files[path].clone(), path, &mut strings(&["x"], &[]), &mut open).err()
    };
    assert_eq!(
        [error(b"/loop"), error(b"/lost"), error(b"/program")],
        [Some(Errno::ELOOP), Some(Errno::ENOENT), None]
    );
}

#[test]
fn five_scripts_deep_is_well_and_six_is_not() {
    let file = |index: usize| match index {
        0 => Builder::new(abi::ET_EXEC, 0x40_0000).file(),
        _ => TestFile::new(alloc::format!("#!/{}\n", index - 1).as_bytes()) as Arc<dyn PageSource>,
    };
    let mut open = |path: &[u8]| Ok(file(core::str::from_utf8(&path[1..]).unwrap().parse().unwrap()));
    let mut follow = |index| follow_scripts(file(index), b"/x", &mut strings(&["x"], &[]), &mut open).err();
    assert_eq!([follow(5), follow(6)], [None, Some(Errno::ELOOP)]);
}

#[test]
fn what_is_not_a_program_for_this_machine_is_enoexec() {
    let good = Builder::new(abi::ET_EXEC, 0x40_0000);
    let error = |bytes: &[u8]| {
        load_with(TestFile::new(bytes), &strings(&["x"], &[]), &mut |_| Err(Errno::ENOENT)).err()
    };
    let bytes = good.bytes();
    assert_eq!(error(&bytes), None);
    assert_eq!(error(b""), Some(Errno::ENOEXEC));
    assert_eq!(error(b"just some text\n"), Some(Errno::ENOEXEC));
    for length in [1, 4, 16, 63, 64, 100, 64 + 56 * 3 - 1, 0x1000, 0x1f01] {
        assert_eq!(error(&bytes[..length]), Some(Errno::ENOEXEC), "cut after {length} bytes");
    }
    // Class, byte order, version; type, machine; size and number of program headers.
    for (at, value) in
        [(4, 1), (5, 2), (6, 0), (16, 1), (16, 4), (18, 3), (18, 183), (54, 32), (56, 0), (57, 0xff)]
    {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert_eq!(error(&bytes), Some(Errno::ENOEXEC), "byte {at} is {value}");
    }
}

#[test]
fn segments_that_make_no_sense_are_refused() {
    let top = Hardware::USER_END as u64;
    let cases = [
        (Header(abi::PT_LOAD, READ, 0, 0x40_0000, 0x900, 0x800, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0, top - 0x1000, 0x100, 0x2000, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0, u64::MAX - 0x100, 0x100, 0x2000, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0, 0x40_0000, 0x100, u64::MAX, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0, 0x40_0000, u64::MAX, u64::MAX, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0x10, 0x40_0000, 0x100, 0x100, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, u64::MAX - 0xfff, 0x40_0000, 0x100, 0x100, 0x1000), Errno::ENOEXEC),
        (Header(abi::PT_LOAD, READ, 0, 0x40_0000, 0x10_0000, 0x10_0000, 0x1000), Errno::ENOEXEC),
        (Header(abi::PT_LOAD, READ, 0, 0, 0x100, 0x100, 0x1000), Errno::EPERM),
        (Header(abi::PT_LOAD, READ | WRITE, 0, 0x40_0000, 0, 1 << 40, 0x1000), Errno::ENOMEM),
        (
            Header(abi::PT_LOAD, READ, 0, 0x7fff_fffd_0000 - SHORTER as u64, 0x100, 0x2_0000, 0x1000),
            Errno::EEXIST,
        ),
        (Header(abi::PT_NOTE, READ, 0, 0x40_0000, 0x100, 0x100, 0x1000), Errno::EINVAL),
    ];
    for (header, errno) in cases {
        let program = Builder { headers: vec![header], ..Builder::new(abi::ET_EXEC, 0x40_0000) };
        assert_eq!(load_alone(&program).err(), Some(errno), "{header:?}");
    }
    for path in [&b"\0"[..], b"/lib/ld.so", &[b'x'; 300][..]] {
        let program = Builder::new(abi::ET_DYN, 0).with_interpreter(&path[..path.len().min(0x100)]);
        assert_eq!(load_alone(&program).err(), Some(Errno::ENOEXEC), "an interpreter called {path:?}");
    }
}

#[test]
fn a_stack_is_executable_only_on_request() {
    let mut program = Builder::new(abi::ET_EXEC, 0x40_0000);
    program.headers[2].1 |= EXECUTE;
    let Loaded { space, .. } = load_alone(&program).unwrap();
    assert!(map(&space).contains(&String::from("7ffffffc6000-7ffffffe7000 rwx [stack]")));
    let mut growing = 0;
    space.regions(&mut |region| growing += u32::from(region.flags.contains(RegionFlags::GROWS_DOWN)));
    assert_eq!(growing, 1);
}

#[test]
fn whatever_memory_is_left_a_failed_load_gives_it_all_back() {
    let program = Builder::new(abi::ET_DYN, 0);
    let program = program.with(Header(abi::PT_LOAD, READ | WRITE, 0x2000, 0x7000, 0x10, 0x20, 0x1000)).file();
    let long = "x".repeat(30_000);
    let (special, arguments) = (TestSpecial::outside(), strings(&["test", &long], &["E=1"]));
    // The page of zeros is there once and for all.
    drop(load_in(special.clone(), program.clone(), &arguments, &mut |_| Err(Errno::ENOENT)));
    let before = held();
    let mut needed = 0;
    for left in 0.. {
        let mut no_interpreter = |_: &[u8]| Err(Errno::ENOENT);
        let load = || load_in(special.clone(), program.clone(), &arguments, &mut no_interpreter);
        let result = with_frames_left(left, load);
        match result {
            Err(errno) => assert_eq!(errno, Errno::ENOMEM, "with {left} frames"),
            Ok(_) => {
                needed = left;
                break;
            }
        }
        assert_eq!(held(), before, "with {left} frames");
    }
    assert!((8..40).contains(&needed), "{needed} frames");
    assert_eq!(held(), before);
}

proptest! {
    #[test]
    fn no_file_makes_the_kernel_stumble(
        kind in prop::sample::select(vec![abi::ET_EXEC, abi::ET_DYN]),
        changes in prop::collection::vec((0usize..64 + 56 * 5, any::<u8>()), 0..12),
        extra in any::<(u32, u64, u64, u64, u64)>(),
        length in prop::option::of(0usize..0x3000),
    ) {
        let (flags, offset, address, file_size, memory_size) = extra;
        let mut bytes = Builder::new(kind, 0x40_0000)
            .with_interpreter(b"/lib/ld.so\0")
            .with(Header(abi::PT_LOAD, flags, offset & 0x3fff, address >> (address % 64), file_size & 0x3fff, memory_size >> (memory_size % 64), 1 << (flags % 64)))
            .bytes();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(length.unwrap_or(bytes.len()));
        let (program, linker) = (TestFile::new(&bytes), TestFile::new(&bytes));
        let arguments = strings(&["x"], &[]);
        let before = held();
        let result = load_with(program, &arguments, &mut |_| Ok(linker.clone()));
        if let Ok(Loaded { space, entry, .. }) = &result {
            // Running it may fault, never more.
            let _ = space.fault(*entry, crate::arch::Access::Execute);
        }
        drop(result);
        drop(linker);
        drop(arguments);
        prop_assert!(held() <= before);
    }
}
