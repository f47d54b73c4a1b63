//! Memory that several see: mappings of a file, and what fork leaves to both.

use super::faults::{BUS, Touch, reading_is};
use super::mappings::PAGE;
use super::memory::{
    ANONYMOUS, NONE, PRIVATE, READ, SHARED, WRITE, filled, get, map, mmap, mprotect, munmap, put,
};
use super::support::Temporary;
use crate::call;
use crate::ktap::{Plan, Step, equal, holds, in_child, refused};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process::{self};

pub fn cases(plan: &mut Plan) {
    files(plan);
    sharing(plan);
}

fn files(plan: &mut Plan) {
    plan.case("a private mapping shows the file, and writing to it changes no file", || {
        let temporary = Temporary::with("private", b"0123456789", 0o644)?;
        let descriptor = Descriptor::open(&temporary.0, libc::O_RDWR)?;
        let address = mmap(0, PAGE, READ | WRITE, PRIVATE, descriptor.0, 0).step("mmap")?;
        drop(descriptor);
        equal("bytes", (get(address), get(address + 9)), (b'0', b'9'))?;
        holds(filled(address + 10, PAGE - 10, 0), || "no zeros behind the file".into())?;
        put(address, b'x');
        equal("byte", get(address), b'x')?;
        equal("file", file::read(&temporary.0)?, "0123456789".to_string())
    });
    plan.case("a shared mapping is the file: both ways, at once", || {
        let temporary = Temporary::with("shared", &[b'a'; 3 * PAGE], 0o644)?;
        let descriptor = Descriptor::open(&temporary.0, libc::O_RDWR)?;
        let address = mmap(0, 2 * PAGE, READ | WRITE, SHARED, descriptor.0, PAGE).step("mmap")?;
        put(address + 5, b'x');
        let mut bytes = [0u8; 8];
        call!(libc::SYS_pread64, descriptor.0, &mut bytes, 8usize, PAGE).step("pread64")?;
        equal("file", &bytes, b"aaaaaxaa")?;
        call!(libc::SYS_pwrite64, descriptor.0, b"y".as_ptr(), 1usize, 2 * PAGE).step("pwrite64")?;
        equal("memory", get(address + PAGE), b'y')?;
        in_child(move || {
            put(address + 6, b'z');
            Ok(())
        })?;
        equal("memory after a child wrote", get(address + 6), b'z')?;
        call!(libc::SYS_msync, address, 2 * PAGE, libc::MS_SYNC).step("msync").map(|_| ())
    });
    plan.case("a page wholly behind the end of the file is SIGBUS", || {
        let temporary = Temporary::with("short", b"short", 0o644)?;
        let descriptor = Descriptor::open(&temporary.0, libc::O_RDWR)?;
        for flags in [PRIVATE, SHARED] {
            let address = mmap(0, 3 * PAGE, READ, flags, descriptor.0, 0).step("mmap")?;
            reading_is("the first page", address + 100, Touch::Fine)?;
            reading_is("the second page", address + PAGE, BUS)?;
            let (_read_end, write_end) = process::pipe()?;
            refused(
                "write(2) from it",
                call!(libc::SYS_write, write_end, address + PAGE, 1usize),
                Errno::EFAULT,
            )?;
        }
        call!(libc::SYS_ftruncate, descriptor.0, 2 * PAGE).step("ftruncate")?;
        let address = mmap(0, 3 * PAGE, READ, SHARED, descriptor.0, 0).step("mmap")?;
        reading_is("the second page of the longer file", address + PAGE, Touch::Fine)?;
        reading_is("the third", address + 2 * PAGE, BUS)
    });
    plan.case("what a file loses is gone from its mappings, and what it gets instead is seen", || {
        let temporary = Temporary::with("cut", &[b'a'; 4 * PAGE], 0o644)?;
        let descriptor = Descriptor::open(&temporary.0, libc::O_RDWR)?;
        let shared = mmap(0, 4 * PAGE, READ | WRITE, SHARED, descriptor.0, 0).step("mmap")?;
        let private = mmap(0, 4 * PAGE, READ, PRIVATE, descriptor.0, 0).step("mmap")?;
        let at_file = |offset: usize| {
            let mut byte = [0u8];
            call!(libc::SYS_pread64, descriptor.0, &mut byte, 1usize, offset).step("pread64").map(|_| byte[0])
        };
        (0..4).for_each(|page| put(shared + page * PAGE, b'b' + get(private + page * PAGE) - b'a'));
        call!(libc::SYS_ftruncate, descriptor.0, 2 * PAGE).step("ftruncate")?;
        refused(
            "behind the end",
            call!(libc::SYS_write, descriptor.0, shared + 2 * PAGE, 1usize),
            Errno::EFAULT,
        )?;
        call!(libc::SYS_ftruncate, descriptor.0, 4 * PAGE).step("ftruncate")?;
        let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        call!(libc::SYS_fallocate, descriptor.0, hole, 0, PAGE).step("fallocate")?;
        for page in [0, 2, 3] {
            equal("shared", get(shared + page * PAGE), 0)?;
            equal("private", get(private + page * PAGE), 0)?;
            put(shared + page * PAGE, b'c');
            equal("file", at_file(page * PAGE)?, b'c')?;
        }
        equal("what was not lost", (get(shared + PAGE), at_file(PAGE)?), (b'b', b'b'))
    });
    plan.case("a mapping outlives the file's name and descriptor", || {
        let temporary = Temporary::with("gone", &[b'q'; PAGE], 0o644)?;
        let descriptor = Descriptor::open(&temporary.0, libc::O_RDONLY)?;
        let address = mmap(0, PAGE, READ, SHARED, descriptor.0, 0).step("mmap")?;
        drop(descriptor);
        drop(temporary);
        holds(filled(address, PAGE, b'q'), || "the bytes are gone".into())
    });
}

fn sharing(plan: &mut Plan) {
    plan.case("after fork private memory is copied when written, by either side", || {
        let address = map(64, READ | WRITE)?;
        (0..64).for_each(|page| put(address + page * PAGE, 1));
        let (read_end, write_end) = process::pipe()?;
        let child = crate::ktap::Running::start(move || {
            (0..64).step_by(2).for_each(|page| put(address + page * PAGE, 2));
            process::await_byte(read_end);
            for page in 0..64 {
                equal("a byte in the child", get(address + page * PAGE), if page % 2 == 0 { 2 } else { 1 })?;
            }
            Ok(())
        })?;
        (0..64).step_by(3).for_each(|page| put(address + page * PAGE, 3));
        process::send_byte(write_end);
        child.finish()?;
        for page in 0..64 {
            equal("a byte in the parent", get(address + page * PAGE), if page % 3 == 0 { 3 } else { 1 })?;
        }
        Ok(())
    });
    plan.case("three generations of forks keep their bytes apart", || {
        let address = map(1, READ | WRITE)?;
        put(address, 1);
        in_child(move || {
            put(address, 2);
            in_child(move || {
                equal("the grandchild's byte", get(address), 2)?;
                put(address, 3);
                Ok(())
            })?;
            equal("the child's byte", get(address), 2)
        })?;
        equal("the parent's byte", get(address), 1)
    });
    plan.case("a read(2) into a page shared by fork copies it first", || {
        let address = map(1, READ | WRITE)?;
        put(address, 1);
        let (read_end, write_end) = process::pipe()?;
        process::send_byte(write_end);
        in_child(move || {
            call!(libc::SYS_read, read_end, address, 1usize).step("read")?;
            equal("the child's byte", get(address), b'.')
        })?;
        equal("the parent's byte", get(address), 1)
    });
    plan.case("shared anonymous memory is one for parent and children", || {
        let address = mmap(0, PAGE, READ | WRITE, SHARED | ANONYMOUS, -1, 0).step("mmap")?;
        in_child(move || {
            put(address, 9);
            Ok(())
        })?;
        equal("byte", get(address), 9)
    });
    plan.case("what the child unmaps or protects stays as it is in the parent", || {
        let address = map(2, READ | WRITE)?;
        in_child(move || {
            munmap(address, PAGE).step("munmap")?;
            mprotect(address + PAGE, PAGE, NONE).step("mprotect").map(|_| ())
        })?;
        put(address, 1);
        put(address + PAGE, 1);
        Ok(())
    });
}
