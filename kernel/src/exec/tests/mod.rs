//! Programs in memory, whole and damaged, are loaded, and what they would find is looked at.

mod damaged;
mod loading;
mod strings;

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
