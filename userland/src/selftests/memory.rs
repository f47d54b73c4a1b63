//! Memory of a process: mmap(2) and its family, brk, the stack, and what each fault says.

use super::faults::{self, FORBIDDEN, Touch, UNMAPPED, reading_is};
use super::mappings::{self, PAGE};
use super::support::Temporary;
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, on_gnomon, refused, skipped};
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::process::{self, Status};

pub const NONE: i32 = libc::PROT_NONE;
pub const READ: i32 = libc::PROT_READ;
pub const WRITE: i32 = libc::PROT_WRITE;
const EXECUTE: i32 = libc::PROT_EXEC;
pub const PRIVATE: i32 = libc::MAP_PRIVATE;
pub const SHARED: i32 = libc::MAP_SHARED;
pub const ANONYMOUS: i32 = libc::MAP_ANONYMOUS;
const FIXED: i32 = libc::MAP_FIXED;

/// The system call in full.
pub fn mmap(
    address: usize,
    length: usize,
    protection: i32,
    flags: i32,
    descriptor: i32,
    offset: usize,
) -> Result<usize, Errno> {
    call!(libc::SYS_mmap, address, length, protection, flags, descriptor, offset)
}

/// Private anonymous memory.
pub fn map(pages: usize, protection: i32) -> Result<usize, Why> {
    mmap(0, pages * PAGE, protection, PRIVATE | ANONYMOUS, -1, 0).step("mmap")
}

pub fn munmap(address: usize, length: usize) -> Result<usize, Errno> {
    call!(libc::SYS_munmap, address, length)
}

pub fn mprotect(address: usize, length: usize, protection: i32) -> Result<usize, Errno> {
    call!(libc::SYS_mprotect, address, length, protection)
}

pub fn get(address: usize) -> u8 {
    // SAFETY: callers read what they have mapped readable.
    unsafe { std::ptr::read_volatile(address as *const u8) }
}

pub fn put(address: usize, byte: u8) {
    // SAFETY: callers write what they have mapped writable, and nothing else uses.
    unsafe { std::ptr::write_volatile(address as *mut u8, byte) }
}

/// True when all bytes are this one.
pub fn filled(address: usize, length: usize, byte: u8) -> bool {
    (address..address + length).all(|address| get(address) == byte)
}

fn writing_is(what: &str, address: usize, expected: Touch) -> Outcome {
    equal(what, faults::writing(address)?, expected)
}

pub fn cases(plan: &mut Plan) {
    anonymous(plan);
    refusals(plan);
    remapping(plan);
    advice(plan);
    break_and_stack(plan);
    threads_and_limits(plan);
}

fn anonymous(plan: &mut Plan) {
    plan.case("anonymous memory is zero, writable, and ends where it ends", || {
        let address = map(4, READ | WRITE)?;
        holds(filled(address, 4 * PAGE, 0), || "not zero".into())?;
        (0..4 * PAGE).step_by(PAGE).for_each(|offset| put(address + offset, 1));
        munmap(address + PAGE, PAGE).step("munmap of the second page")?;
        reading_is("the hole", address + PAGE, UNMAPPED)?;
        equal("the first and third page", (get(address), get(address + 2 * PAGE)), (1, 1))?;
        munmap(address, 4 * PAGE).step("munmap across the hole")?;
        reading_is("the first page", address, UNMAPPED)
    });
    plan.case("protections: what is not allowed is SIGSEGV with SEGV_ACCERR", || {
        let address = map(1, NONE)?;
        reading_is("reading what allows nothing", address, FORBIDDEN)?;
        mprotect(address, PAGE, READ).step("mprotect")?;
        reading_is("reading what may be read", address, Touch::Fine)?;
        writing_is("writing what may be read", address, FORBIDDEN)?;
        mprotect(address, PAGE, READ | WRITE).step("mprotect")?;
        writing_is("writing what may be written", address, Touch::Fine)?;
        put(address, 0xc3);
        equal("executing data", faults::executing(address)?, FORBIDDEN)?;
        mprotect(address, PAGE, READ | EXECUTE).step("mprotect")?;
        equal("executing code", faults::executing(address)?, Touch::Fine)?;
        writing_is("writing code", address, FORBIDDEN)
    });
    plan.case("reservations without access: 128 MiB, 1 GiB, 64 GiB, then a piece made usable", || {
        for pages in [32 * 1024, 256 * 1024, 16 * 1024 * 1024] {
            let flags = PRIVATE | ANONYMOUS | libc::MAP_NORESERVE;
            let address = mmap(0, pages * PAGE, NONE, flags, -1, 0).step("mmap")?;
            let middle = address + pages / 2 * PAGE;
            mprotect(middle, 4 * PAGE, READ | WRITE).step("mprotect of a piece")?;
            put(middle + PAGE, 7);
            equal("the byte", get(middle + PAGE), 7)?;
            reading_is("before the piece", middle - 1, FORBIDDEN)?;
            reading_is("behind the piece", middle + 4 * PAGE, FORBIDDEN)?;
            munmap(address, pages * PAGE).step("munmap")?;
        }
        Ok(())
    });
    plan.case("MAP_FIXED replaces what is there, MAP_FIXED_NOREPLACE refuses: EEXIST", || {
        let address = map(3, READ | WRITE)?;
        (0..3).for_each(|page| put(address + page * PAGE, 5));
        let middle = address + PAGE;
        equal("mmap", mmap(middle, PAGE, READ | WRITE, PRIVATE | ANONYMOUS | FIXED, -1, 0), Ok(middle))?;
        equal("bytes", (get(address), get(middle), get(address + 2 * PAGE)), (5, 0, 5))?;
        let flags = PRIVATE | ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        refused("over it", mmap(middle, PAGE, READ, flags, -1, 0), Errno::EEXIST)?;
        munmap(middle, PAGE).step("munmap")?;
        equal("into the hole", mmap(middle, PAGE, READ, flags, -1, 0), Ok(middle))
    });
    plan.case("a hint that is free is taken", || {
        let address = map(2, READ)?;
        munmap(address, 2 * PAGE).step("munmap")?;
        equal("mmap", mmap(address, PAGE, READ, PRIVATE | ANONYMOUS, -1, 0), Ok(address))
    });
    plan.case("/proc/self/maps shows mappings and their protections as they change", || {
        let address = map(3, READ | WRITE)?;
        mprotect(address + PAGE, PAGE, READ).step("mprotect")?;
        let permissions =
            |at: usize| -> Result<String, Why> { Ok(mappings::holding(at)?.step("a mapping")?.permissions) };
        equal("first", permissions(address)?.as_str(), "rw-p")?;
        equal("second", permissions(address + PAGE)?.as_str(), "r--p")?;
        munmap(address + PAGE, PAGE).step("munmap")?;
        equal("second after munmap", mappings::holding(address + PAGE)?, None)
    });
    plan.case("flags that ask for nothing special are taken", || {
        for flag in [libc::MAP_NORESERVE, libc::MAP_POPULATE, libc::MAP_STACK, libc::MAP_32BIT] {
            let address = mmap(0, PAGE, READ | WRITE, PRIVATE | ANONYMOUS | flag, -1, 0).step("mmap")?;
            put(address, 1);
            if flag == libc::MAP_32BIT {
                holds(address < 1 << 32, || format!("MAP_32BIT gave {address:#x}"))?;
            }
        }
        Ok(())
    });
    plan.case("the kernel reads from and writes to pages that were never touched", || {
        let address = map(2, READ | WRITE)?;
        let (read_end, write_end) = process::pipe()?;
        equal("write", call!(libc::SYS_write, write_end, address, 100usize), Ok(100))?;
        equal("read", call!(libc::SYS_read, read_end, address + PAGE, 100usize), Ok(100))?;
        holds(filled(address + PAGE, PAGE, 0), || "not zero".into())
    });
}

fn refusals(plan: &mut Plan) {
    plan.case("mmap refuses: no length, no kind, an odd offset or address, too much", || {
        let flags = PRIVATE | ANONYMOUS;
        refused("length 0", mmap(0, 0, READ, flags, -1, 0), Errno::EINVAL)?;
        refused("neither private nor shared", mmap(0, PAGE, READ, ANONYMOUS, -1, 0), Errno::EINVAL)?;
        refused("offset 1", mmap(0, PAGE, READ, flags, -1, 1), Errno::EINVAL)?;
        refused("fixed at an odd address", mmap(4097, PAGE, READ, flags | FIXED, -1, 0), Errno::EINVAL)?;
        refused("2^63 bytes", mmap(0, 1 << 63, READ, flags, -1, 0), Errno::ENOMEM)?;
        refused("a length that wraps", mmap(0, usize::MAX, READ, flags, -1, 0), Errno::ENOMEM)?;
        refused(
            "fixed in the kernel's half",
            mmap(0xffff_8000_0000_0000, PAGE, READ, flags | FIXED, -1, 0),
            Errno::ENOMEM,
        )?;
        refused(
            "fixed at the end of the user's half",
            mmap(0x7fff_ffff_f000, PAGE, READ, flags | FIXED, -1, 0),
            Errno::ENOMEM,
        )
    });
    plan.case(
        "mmap of a file refuses: a bad descriptor, a directory, access the descriptor does not have",
        || {
            refused("descriptor -1", mmap(0, PAGE, READ, PRIVATE, -1, 0), Errno::EBADF)?;
            let directory = Descriptor::open("/", libc::O_RDONLY)?;
            refused("a directory", mmap(0, PAGE, READ, PRIVATE, directory.0, 0), Errno::ENODEV)?;
            let temporary = Temporary::with("access", b"text", 0o644)?;
            let write_only = Descriptor::open(&temporary.0, libc::O_WRONLY)?;
            refused("write-only", mmap(0, PAGE, READ, PRIVATE, write_only.0, 0), Errno::EACCES)?;
            let read_only = Descriptor::open(&temporary.0, libc::O_RDONLY)?;
            refused(
                "read-only, shared, writable",
                mmap(0, PAGE, READ | WRITE, SHARED, read_only.0, 0),
                Errno::EACCES,
            )?;
            let address = mmap(0, PAGE, READ, SHARED, read_only.0, 0).step("shared, readable")?;
            refused("made writable", mprotect(address, PAGE, READ | WRITE), Errno::EACCES)?;
            mmap(0, PAGE, READ | WRITE, PRIVATE, read_only.0, 0).step("private, writable").map(|_| ())
        },
    );
    plan.case("munmap: odd addresses and no length are EINVAL, what is not mapped is fine", || {
        let address = map(1, READ)?;
        refused("an odd address", munmap(address + 1, PAGE), Errno::EINVAL)?;
        refused("length 0", munmap(address, 0), Errno::EINVAL)?;
        refused("the kernel's half", munmap(0xffff_8000_0000_0000, PAGE), Errno::EINVAL)?;
        munmap(address, 1).step("a page by one byte of it")?;
        munmap(address, PAGE).step("again").map(|_| ())
    });
    plan.case("mprotect: odd addresses EINVAL, holes ENOMEM, length 0 fine", || {
        let address = map(3, READ)?;
        refused("an odd address", mprotect(address + 1, PAGE, READ), Errno::EINVAL)?;
        refused("unknown bits", mprotect(address, PAGE, 0x40), Errno::EINVAL)?;
        munmap(address + PAGE, PAGE).step("munmap")?;
        refused("over a hole", mprotect(address, 3 * PAGE, READ | WRITE), Errno::ENOMEM)?;
        mprotect(address, 0, READ).step("length 0").map(|_| ())
    });
}

fn remapping(plan: &mut Plan) {
    let mremap = |address: usize, old: usize, new: usize, flags: i32, target: usize| {
        call!(libc::SYS_mremap, address, old * PAGE, new * PAGE, flags, target)
    };
    plan.case("mremap to shrink unmaps the rest", move || {
        let address = map(4, READ | WRITE)?;
        equal("mremap", mremap(address, 4, 1, 0, 0), Ok(address))?;
        reading_is("the first page", address, Touch::Fine)?;
        reading_is("the second", address + PAGE, UNMAPPED)
    });
    plan.case("mremap to grow where there is room stays, elsewhere it moves or is ENOMEM", move || {
        let address = map(8, READ | WRITE)?;
        munmap(address + PAGE, 2 * PAGE).step("munmap")?;
        put(address, 42);
        equal("into the hole", mremap(address, 1, 3, 0, 0), Ok(address))?;
        holds(filled(address + PAGE, 2 * PAGE, 0), || "the new pages are not zero".into())?;
        refused("beyond it", mremap(address, 3, 4, 0, 0), Errno::ENOMEM)?;
        let moved = mremap(address, 3, 64, libc::MREMAP_MAYMOVE, 0).step("with leave to move")?;
        holds(moved != address, || "it did not move".into())?;
        equal("the byte", get(moved), 42)?;
        put(moved + 63 * PAGE, 1);
        reading_is("the old place", address, UNMAPPED)
    });
    plan.case("mremap to a fixed place replaces what is there", move || {
        let (source, target) = (map(2, READ | WRITE)?, map(2, READ | WRITE)?);
        put(source, 1);
        put(target, 2);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        equal("mremap", mremap(source, 2, 2, flags, target), Ok(target))?;
        equal("the byte", get(target), 1)?;
        reading_is("the old place", source, UNMAPPED)
    });
    plan.case("mremap refuses odd addresses, holes, overlap", move || {
        let address = map(4, READ | WRITE)?;
        refused("an odd address", mremap(address + 1, 1, 2, 0, 0), Errno::EINVAL)?;
        refused("new length 0", mremap(address, 1, 0, 0, 0), Errno::EINVAL)?;
        refused(
            "fixed without leave to move",
            mremap(address, 1, 1, libc::MREMAP_FIXED, address),
            Errno::EINVAL,
        )?;
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        refused("onto itself", mremap(address, 2, 2, flags, address + PAGE), Errno::EINVAL)?;
        munmap(address + PAGE, PAGE).step("munmap")?;
        refused("from a hole", mremap(address + PAGE, 1, 2, libc::MREMAP_MAYMOVE, 0), Errno::EFAULT)
    });
    plan.case("what moves may be far more than memory, with pages here and there", move || {
        const PAGES: usize = 1 << 32;
        let (flags, reserved) = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, libc::MAP_NORESERVE);
        let place = |protection| mmap(0, PAGES * PAGE, protection, PRIVATE | ANONYMOUS | reserved, -1, 0);
        let (source, target) = (place(READ | WRITE).step("mmap")?, place(NONE).step("mmap")?);
        let touched = (0..100).chain([PAGES / 3, PAGES / 2 - 1, PAGES / 2, PAGES - 1]);
        touched.clone().for_each(|page| put(source + page * PAGE, 1 + page as u8 % 99));
        equal("mremap", mremap(source, PAGES, PAGES, flags, target), Ok(target))?;
        touched.clone().try_for_each(|page| equal("byte", get(target + page * PAGE), 1 + page as u8 % 99))?;
        reading_is("where nothing was", target + 1000 * PAGE, Touch::Fine)?;
        munmap(target, PAGES * PAGE).step("munmap").map(|_| ())
    });
}

fn advice(plan: &mut Plan) {
    let madvise =
        |address: usize, pages: usize, advice: i32| call!(libc::SYS_madvise, address, pages * PAGE, advice);
    plan.case(
        "MADV_DONTNEED: anonymous memory is zero again, a private file's the file's again",
        move || {
            let address = map(4, READ | WRITE)?;
            (0..4).for_each(|page| put(address + page * PAGE, 1));
            madvise(address + PAGE, 2, libc::MADV_DONTNEED).step("madvise")?;
            let bytes: Vec<u8> = (0..4).map(|page| get(address + page * PAGE)).collect();
            equal("bytes", bytes, vec![1, 0, 0, 1])?;
            let temporary = Temporary::with("advice", b"file", 0o644)?;
            let descriptor = Descriptor::open(&temporary.0, libc::O_RDONLY)?;
            let address = mmap(0, PAGE, READ | WRITE, PRIVATE, descriptor.0, 0).step("mmap")?;
            put(address, b'x');
            madvise(address, 1, libc::MADV_DONTNEED).step("madvise")?;
            equal("byte", get(address), b'f')
        },
    );
    plan.case("madvise: hints are taken, unknown ones EINVAL, holes ENOMEM", move || {
        let address = map(3, READ | WRITE)?;
        for hint in [libc::MADV_NORMAL, libc::MADV_WILLNEED, libc::MADV_SEQUENTIAL, libc::MADV_FREE] {
            madvise(address, 3, hint).step(&format!("advice {hint}"))?;
        }
        refused("advice 9999", madvise(address, 1, 9999), Errno::EINVAL)?;
        refused("an odd address", madvise(address + 1, 1, libc::MADV_DONTNEED), Errno::EINVAL)?;
        munmap(address + PAGE, PAGE).step("munmap")?;
        refused("over a hole", madvise(address, 3, libc::MADV_DONTNEED), Errno::ENOMEM)
    });
}

fn break_and_stack(plan: &mut Plan) {
    plan.case("brk grows by zeroed pages, shrinks, and tells where it is", || {
        let start = call!(libc::SYS_brk, 0)?;
        let grown = start + 40 * PAGE;
        equal("grown", call!(libc::SYS_brk, grown), Ok(grown))?;
        holds(filled(grown - 8 * PAGE, 8 * PAGE, 0), || "not zero".into())?;
        put(grown - 1, 1);
        let back = grown - 20 * PAGE;
        equal("shrunk", call!(libc::SYS_brk, back), Ok(back))?;
        reading_is("what was given back", grown - 1, UNMAPPED)?;
        equal("grown again", call!(libc::SYS_brk, grown), Ok(grown))?;
        equal("the byte", get(grown - 1), 0)?;
        equal("too far back", call!(libc::SYS_brk, PAGE), Ok(grown))?;
        equal("too far on", call!(libc::SYS_brk, 0x7fff_0000_0000usize), Ok(grown))
    });
    plan.case("the stack grows when used, over a mebibyte", || {
        #[inline(never)]
        fn deep(levels: usize) -> u64 {
            let space = std::hint::black_box([levels as u8; 16 * 1024]);
            if levels == 0 { 0 } else { deep(levels - 1) + u64::from(space[levels % 16384]) }
        }
        holds(deep(100) > 0, || "no sum".into())?;
        let marker = 0u8;
        let far_below = std::ptr::from_ref(&marker) as usize - 4 * 1024 * 1024;
        reading_is("four mebibytes below", far_below, Touch::Fine)
    });
    plan.case("endless recursion ends in SIGSEGV", || {
        #[inline(never)]
        #[allow(unconditional_recursion)]
        fn endless(level: u64) -> u64 {
            let space = std::hint::black_box([level; 512]);
            endless(level + 1) + space[(level % 512) as usize]
        }
        let status = process::run(|| endless(0) as i32)?;
        equal("how it ended", status, Status::Killed(libc::SIGSEGV))
    });
    plan.case("address 0 and the first page are never mapped by themselves", || {
        reading_is("address 0", 0, UNMAPPED)?;
        reading_is("address 8", 8, UNMAPPED)?;
        writing_is("address 0", 0, UNMAPPED)
    });
    plan.case("the kernel's half is SIGSEGV, a non-canonical address too", || {
        reading_is("the kernel's half", 0xffff_8000_0000_0000, UNMAPPED)?;
        reading_is("the top", usize::MAX - 4095, UNMAPPED)?;
        // The processor gives no address for a general protection fault.
        let touch = faults::reading(0x8000_0000_0000_0000)?;
        equal("not canonical", touch, Touch::WrongAddress(libc::SIGSEGV))
    });
}

fn threads_and_limits(plan: &mut Plan) {
    plan.case("what one thread unmaps or protects, no other can use any more", || {
        for unmaps in [true, false] {
            let address = map(1, READ | WRITE)?;
            let status = process::run(|| {
                std::thread::spawn(move || {
                    loop {
                        put(address, get(address).wrapping_add(1));
                    }
                });
                while get(address) == 0 {
                    std::hint::spin_loop();
                }
                let _ = if unmaps { munmap(address, PAGE) } else { mprotect(address, PAGE, READ) };
                crate::system::time::sleep(5 * crate::system::time::SECOND);
                0
            })?;
            equal("how it ended", status, Status::Killed(libc::SIGSEGV))?;
        }
        Ok(())
    });
    plan.case("using more memory than there is ends that process or is refused, and no other", || {
        if !on_gnomon() {
            return skipped("not on a machine that others work on");
        }
        let status = process::run(|| {
            let mut refused = 0;
            while refused < 3 {
                match map(256, READ | WRITE) {
                    Ok(address) => (0..256).for_each(|page| put(address + page * PAGE, 1)),
                    Err(_) => refused += 1,
                }
            }
            0
        })?;
        let ended = matches!(
            status,
            Status::Exited(0) | Status::Killed(libc::SIGKILL | libc::SIGSEGV | libc::SIGBUS)
        );
        holds(ended, || format!("it ended with {status:?}"))?;
        // And there is memory again.
        let address = map(256, READ | WRITE)?;
        (0..256).for_each(|page| put(address + page * PAGE, 1));
        Ok(())
    });
    plan.case("mincore tells which pages are there; a hole is ENOMEM", || {
        let address = map(3, READ | WRITE)?;
        put(address + PAGE, 1);
        let mut pages = [0u8; 3];
        call!(libc::SYS_mincore, address, 3 * PAGE, pages.as_mut_ptr()).step("mincore")?;
        equal("the touched page", pages[1] & 1, 1)?;
        call!(libc::SYS_munmap, address + PAGE, PAGE).step("munmap")?;
        let answer = call!(libc::SYS_mincore, address, 3 * PAGE, pages.as_mut_ptr());
        refused("mincore over a hole", answer, Errno::ENOMEM)
    });
    plan.case("a thousand mappings, unmapped in another order", || {
        let mut all = Vec::new();
        for number in 0..1000 {
            // Alternating protections keep neighbours from being merged.
            let address = map(1, if number % 2 == 0 { READ | WRITE } else { READ })?;
            if number % 2 == 0 {
                put(address, number as u8);
            }
            all.push(address);
        }
        for number in (0..1000).step_by(2) {
            equal("byte", get(all[number]), number as u8)?;
        }
        for step in 0..1000 {
            munmap(all[step * 7 % 1000], PAGE).step("munmap")?;
        }
        reading_is("one of them", all[500], UNMAPPED)
    });
    plan.case("seventy thousand pages with gaps between them, each as it was left", || {
        // More than a kernel that is a process itself could have its host map one by one.
        const PIECES: usize = 70_000;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let address = mmap(0, 2 * PIECES * PAGE, READ | WRITE, flags, -1, 0).step("mmap")?;
        let pieces = (0..PIECES).map(|piece| address + 2 * piece * PAGE);
        for (piece, place) in pieces.clone().enumerate() {
            if piece % 1000 == 7 {
                put(place, 1 + (piece / 1000) as u8);
            } else {
                equal(&format!("piece {piece}"), get(place), 0)?;
            }
        }
        for (piece, place) in pieces.enumerate() {
            let left = if piece % 1000 == 7 { 1 + (piece / 1000) as u8 } else { 0 };
            equal(&format!("piece {piece}"), get(place), left)?;
        }
        munmap(address, 2 * PIECES * PAGE).step("munmap").map(|_| ())
    });
}
