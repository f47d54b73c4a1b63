//! ELF files, good and hostile: a file can be anything, so every field is wrong once.
//!
//! The start is a program of 145 bytes that exits with 42. Each case changes it and says what Linux answers: an errno
//! while the old program can still be told, or the death of the process when it is too late for that.

use super::exec_rules::execve;
use super::memory::mmap;
use super::support::Temporary;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed, holds};
use crate::system::errno::Errno;
use crate::system::process::{self, Status};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

/// What came of an exec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Refused(Errno),
    Exits(i32),
    Dies,
    /// Only expected, never seen: Linux finds out too late and the process dies; to find out in time is as good.
    RefusedOrDies,
}
use End::{Dies, Exits, Refused, RefusedOrDies};

impl End {
    fn is(self, expected: End) -> Outcome {
        match (self, expected) {
            (Refused(_) | Dies, RefusedOrDies) => Ok(()),
            (end, expected) => equal("exec", end, expected),
        }
    }
}

const BASE: u64 = 0x40_0000;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// Field offsets in the file header and, from its start, in a program header.
const TYPE: usize = 16;
const MACHINE: usize = 18;
const ENTRY: usize = 24;
const PHOFF: usize = 32;
const PHENTSIZE: usize = 54;
const PHNUM: usize = 56;
const P_TYPE: usize = HEADER;
const P_FLAGS: usize = HEADER + 4;
const P_OFFSET: usize = HEADER + 8;
const P_VADDR: usize = HEADER + 16;
const P_FILESZ: usize = HEADER + 32;
const P_MEMSZ: usize = HEADER + 40;
const P_ALIGN: usize = HEADER + 48;

fn put(file: &mut [u8], offset: usize, value: u64, bytes: usize) {
    file[offset..offset + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
}

/// A program header of type `kind`.
fn program_header(
    kind: u64,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
) -> [u8; PROGRAM_HEADER] {
    let mut header = [0; PROGRAM_HEADER];
    put(&mut header, 0, kind, 4);
    put(&mut header, 4, 5, 4);
    for (index, value) in [offset, address, address, file_size, memory_size, 4096].into_iter().enumerate() {
        put(&mut header, 8 + 8 * index, value, 8);
    }
    header
}

/// A file with these program headers and the code behind them; the entry is the code, as mapped at the base.
fn file_with(headers: &[[u8; PROGRAM_HEADER]]) -> Vec<u8> {
    // exit_group(42)
    const CODE: [u8; 12] = [0xb8, 0xe7, 0, 0, 0, 0xbf, 42, 0, 0, 0, 0x0f, 0x05];
    let mut file = vec![0; HEADER];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let at = (HEADER + headers.len() * PROGRAM_HEADER) as u64;
    for (offset, value, bytes) in [
        (TYPE, 2, 2),
        (MACHINE, 62, 2),
        (20, 1, 4),
        (ENTRY, BASE + at, 8),
        (PHOFF, HEADER as u64, 8),
        (52, HEADER as u64, 2),
        (PHENTSIZE, PROGRAM_HEADER as u64, 2),
        (PHNUM, headers.len() as u64, 2),
    ] {
        put(&mut file, offset, value, bytes);
    }
    headers.iter().for_each(|header| file.extend_from_slice(header));
    file.extend_from_slice(&CODE);
    file
}

/// The smallest good program.
fn good() -> Vec<u8> {
    let size = (HEADER + PROGRAM_HEADER + 12) as u64;
    file_with(&[program_header(1, 0, BASE, size, size)])
}

/// Runs a file; what came of it.
fn end_of(bytes: &[u8]) -> Result<End, Why> {
    let file = Temporary::with("elf", bytes, 0o755)?;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let word = mmap(0, 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0).step("mmap")?;
    // SAFETY: a page of our own, shared with the child, used by atomics only.
    let errno = unsafe { AtomicI32::from_ptr(word as *mut i32) };
    let status = process::run(|| {
        errno.store(execve(&file.0, &["elf"], &[]).err().map_or(0, |errno| errno.0), SeqCst);
        0
    })?;
    match (errno.load(SeqCst), status) {
        (0, Status::Exited(code)) => Ok(Exits(code)),
        (0, Status::Killed(_)) => Ok(Dies),
        (number, Status::Exited(0)) => Ok(Refused(Errno(number))),
        other => failed(format!("strange: {other:?}")),
    }
}

const NO_EXEC: End = Refused(Errno::ENOEXEC);

/// One field each: where, how many bytes, the value, what comes of it.
const FIELDS: &[(&str, usize, usize, u64, End)] = &[
    ("nothing changed", TYPE, 2, 2, Exits(42)),
    ("a wrong magic", 1, 1, b'X' as u64, NO_EXEC),
    ("of type none", TYPE, 2, 0, NO_EXEC),
    ("of type relocatable", TYPE, 2, 1, NO_EXEC),
    ("of type core", TYPE, 2, 4, NO_EXEC),
    ("of type 0xffff", TYPE, 2, 0xffff, NO_EXEC),
    ("for ARM", MACHINE, 2, 183, NO_EXEC),
    ("for no machine", MACHINE, 2, 0, NO_EXEC),
    ("program headers of another size", PHENTSIZE, 2, 32, NO_EXEC),
    ("program headers of size 0", PHENTSIZE, 2, 0, NO_EXEC),
    ("no program headers", PHNUM, 2, 0, NO_EXEC),
    ("65535 program headers", PHNUM, 2, 65535, NO_EXEC),
    ("1171 program headers, more than 64 KiB", PHNUM, 2, 1171, NO_EXEC),
    ("1000 program headers, more than the file", PHNUM, 2, 1000, NO_EXEC),
    ("program headers behind the end", PHOFF, 8, 1 << 20, NO_EXEC),
    ("program headers at a negative offset", PHOFF, 8, u64::MAX, NO_EXEC),
    ("program headers at the largest offset", PHOFF, 8, i64::MAX as u64, NO_EXEC),
    ("an entry that is not mapped", ENTRY, 8, 0x1234_5678, Dies),
    ("an entry in the kernel's half", ENTRY, 8, 0xffff_ffff_8100_0000, Dies),
    ("an entry that is not canonical", ENTRY, 8, 0x8000_0000_0000_0000, Dies),
    ("an entry at 0", ENTRY, 8, 0, Dies),
    ("nothing to load", P_TYPE, 4, 0, RefusedOrDies),
    ("a segment that allows nothing", P_FLAGS, 4, 0, Dies),
    ("a segment that cannot be executed", P_FLAGS, 4, 4, Dies),
    ("a segment longer in the file than in memory", P_MEMSZ, 8, 16, RefusedOrDies),
    ("a segment longer than memory", P_MEMSZ, 8, u64::MAX, RefusedOrDies),
    ("a segment longer than the user's half", P_MEMSZ, 8, 1 << 47, RefusedOrDies),
    ("a file size longer than memory", P_FILESZ, 8, u64::MAX, RefusedOrDies),
    ("an address in the kernel's half", P_VADDR, 8, 0xffff_8000_0000_0000, RefusedOrDies),
    ("an address at the end of the user's half", P_VADDR, 8, 0x7fff_ffff_f000, RefusedOrDies),
    ("an address that is not canonical", P_VADDR, 8, 0x8000_0000_0000_0000, RefusedOrDies),
    ("an address that does not fit the offset", P_VADDR, 8, BASE + 1, RefusedOrDies),
    ("an offset that does not fit the address", P_OFFSET, 8, 1, RefusedOrDies),
    ("an offset behind the end", P_OFFSET, 8, 1 << 20, RefusedOrDies),
    ("a negative offset", P_OFFSET, 8, 0xffff_ffff_ffff_f000, RefusedOrDies),
    ("an alignment that is no power of two", P_ALIGN, 8, 3, Exits(42)),
    ("an alignment of 0", P_ALIGN, 8, 0, Exits(42)),
];

pub fn cases(plan: &mut Plan) {
    for (what, offset, bytes, value, expected) in FIELDS {
        plan.case(format!("{what}: {expected:?}"), move || {
            let mut file = good();
            put(&mut file, *offset, *value, *bytes);
            end_of(&file)?.is(*expected)
        });
    }
    plan.case("cut short anywhere: an errno or a death, never more", || {
        let file = good();
        for length in 0..file.len() {
            match (length, end_of(&file[..length])?) {
                (0..HEADER, Refused(Errno::ENOEXEC)) => {}
                // Within the program headers: Linux cannot read them.
                (_, Refused(Errno::ENOEXEC | Errno::EIO) | Dies | Exits(_)) if length >= HEADER => {}
                (length, end) => return failed(format!("cut to {length} bytes: {end:?}")),
            }
        }
        Ok(())
    });
    interpreters(plan);
    segments(plan);
    plan.case(
        "every byte of both headers changed in turn, to 0x00, 0xff and another: nothing breaks",
        || {
            let file = good();
            for offset in 0..HEADER + PROGRAM_HEADER {
                for value in [0x00, 0xff, file[offset] ^ 0x80] {
                    let mut changed = file.clone();
                    changed[offset] = value;
                    end_of(&changed)?;
                }
            }
            equal("a good file afterwards", end_of(&file)?, Exits(42))
        },
    );
}

/// A file that names an interpreter: the text at the end of the file, as long as said.
fn with_interpreter(text: &[u8], said: u64) -> Vec<u8> {
    let headers = 2 * PROGRAM_HEADER + HEADER;
    let size = (headers + 12 + text.len()) as u64;
    let name = program_header(3, (headers + 12) as u64, BASE + headers as u64 + 12, said, said);
    let mut file = file_with(&[name, program_header(1, 0, BASE, size, size)]);
    file.extend_from_slice(text);
    file
}

fn interpreters(plan: &mut Plan) {
    for (what, text, said, expected) in [
        ("that is not there", b"/no/such/loader\0".as_slice(), 16, Refused(Errno::ENOENT)),
        ("without an end", b"/lib/loader".as_slice(), 11, NO_EXEC),
        ("of no length", b"\0".as_slice(), 0, NO_EXEC),
        ("of one byte", b"\0".as_slice(), 1, NO_EXEC),
        ("longer than a path may be", b"/x\0".as_slice(), 1 << 20, NO_EXEC),
        ("longer than the file", b"/x\0".as_slice(), 4000, Refused(Errno::EIO)),
        ("that is a directory", b"/proc\0".as_slice(), 6, Refused(Errno::EACCES)),
    ] {
        plan.case(format!("an interpreter {what}: {expected:?}"), move || {
            equal("exec", end_of(&with_interpreter(text, said))?, expected)
        });
    }
    plan.case("an interpreter that is no ELF file: ELIBBAD, or EIO when it is shorter than a header", || {
        for (bytes, errno) in [(vec![b'x'; 200], Errno::ELIBBAD), (vec![b'x'; 10], Errno::EIO)] {
            let interpreter = Temporary::with("interpreter", &bytes, 0o755)?;
            let path = format!("{}\0", interpreter.0);
            let end = end_of(&with_interpreter(path.as_bytes(), path.len() as u64))?;
            equal("exec", end, Refused(errno))?;
        }
        Ok(())
    });
    plan.case("an interpreter runs instead of the program", || {
        let mut loader = good();
        // A shared object that exits with 43, to be put wherever there is room.
        put(&mut loader, TYPE, 3, 2);
        put(&mut loader, P_VADDR, 0, 8);
        put(&mut loader, ENTRY, (HEADER + PROGRAM_HEADER) as u64, 8);
        let code = HEADER + PROGRAM_HEADER;
        loader[code + 6] = 43;
        let interpreter = Temporary::with("loader", &loader, 0o755)?;
        let path = format!("{}\0", interpreter.0);
        equal("exec", end_of(&with_interpreter(path.as_bytes(), path.len() as u64))?, Exits(43))
    });
}

fn segments(plan: &mut Plan) {
    plan.case("a shared object without an interpreter runs, at a place of the kernel's choice", || {
        let mut file = good();
        put(&mut file, TYPE, 3, 2);
        put(&mut file, P_VADDR, 0, 8);
        put(&mut file, ENTRY, (HEADER + PROGRAM_HEADER) as u64, 8);
        equal("exec", end_of(&file)?, Exits(42))
    });
    plan.case("memory behind the file's part is zero, over many pages", || {
        let size = (HEADER + PROGRAM_HEADER + 40) as u64;
        let mut file = file_with(&[program_header(1, 0, BASE, size, 1 << 20)]);
        put(&mut file, P_FLAGS, 7, 4);
        // mov eax, [BASE + 0xff000]; mov edi, eax; or dil, [BASE + size]; mov eax, 231; syscall
        let code = HEADER + PROGRAM_HEADER;
        file.truncate(code);
        let far = (BASE as u32 + 0xf_f000).to_le_bytes();
        let near = (BASE as u32 + size as u32).to_le_bytes();
        file.extend_from_slice(
            &[&[0x8b, 0x3c, 0x25], far.as_slice(), &[0x0b, 0x3c, 0x25], near.as_slice()].concat(),
        );
        file.extend_from_slice(&[0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05]);
        file.resize(size as usize, 0x90);
        equal("exec", end_of(&file)?, Exits(0))
    });
    plan.case("segments that overlap or come in another order: an end, never more", || {
        let size = (HEADER + 2 * PROGRAM_HEADER + 12) as u64;
        for (address, length) in [(BASE, size), (BASE + 0x1000, 1 << 30), (BASE - 0x1000, 0x4000), (BASE, 0)]
        {
            let first = program_header(1, 0, BASE, size, size);
            let second = program_header(1, 0, address, size.min(length), length);
            end_of(&file_with(&[first, second]))?;
            end_of(&file_with(&[second, first]))?;
        }
        equal("a good file afterwards", end_of(&good())?, Exits(42))
    });
    plan.case("an unknown kind of segment is passed over", || {
        let size = (HEADER + 2 * PROGRAM_HEADER + 12) as u64;
        let unknown = program_header(0x7abc_def0, u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        let file = file_with(&[unknown, program_header(1, 0, BASE, size, size)]);
        equal("exec", end_of(&file)?, Exits(42))
    });
    plan.case("PT_GNU_STACK decides whether the stack can be executed", || {
        let size = (HEADER + 2 * PROGRAM_HEADER + 14) as u64;
        let mut stack = program_header(0x6474_e551, 0, 0, 0, 0);
        put(&mut stack, 4, 6, 4);
        let mut file = file_with(&[stack, program_header(1, 0, BASE, size, size)]);
        // push 0xc3; call rsp: with a stack that cannot be executed this is a fault.
        file.truncate(HEADER + 2 * PROGRAM_HEADER);
        file.extend_from_slice(&[0x68, 0xc3, 0, 0, 0, 0xff, 0xd4, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]);
        equal("exec", end_of(&file)?, Dies)
    });
    plan.case("a file of zeros and one of random bytes are no programs", || {
        equal("zeros", end_of(&[0; 4096])?, NO_EXEC)?;
        let mut seed = 1u32;
        let random: Vec<u8> = (0..4096)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        holds(random[0] != 0x7f, || "bad luck".into())?;
        equal("random bytes", end_of(&random)?, NO_EXEC)
    });
    plan.case("good headers with random bytes behind them: an end, never more", || -> Outcome {
        let mut seed = 7u32;
        for _ in 0..60 {
            let mut file = good();
            for _ in 0..4 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (seed >> 16) as usize % (HEADER + PROGRAM_HEADER - 8) + 8;
                file[at] = (seed >> 8) as u8;
            }
            end_of(&file)?;
        }
        equal("a good file afterwards", end_of(&good())?, Exits(42))
    });
}
