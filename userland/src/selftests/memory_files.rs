//! Files in memory and their seals: memfd_create(2), fcntl(2) F_ADD_SEALS.

use super::memory::mmap;
use crate::call;
use crate::ktap::{Plan, Step, equal, holds, refused};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};

const READ: i32 = libc::PROT_READ;
const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;
const PAGE: usize = 4096;

fn create(flags: u32) -> Result<Descriptor, Errno> {
    call!(libc::SYS_memfd_create, c"gno mon", flags).map(|number| Descriptor(number as i32))
}

/// One of two pages that takes seals.
fn sealable() -> Result<Descriptor, Errno> {
    let file = create(libc::MFD_ALLOW_SEALING)?;
    file.write(&[7; 2 * PAGE])?;
    Ok(file)
}

fn seal(file: &Descriptor, seals: i32) -> Result<usize, Errno> {
    call!(libc::SYS_fcntl, file.0, libc::F_ADD_SEALS, seals)
}

fn seals(file: &Descriptor) -> Result<usize, Errno> {
    call!(libc::SYS_fcntl, file.0, libc::F_GET_SEALS)
}

fn truncate(file: &Descriptor, length: usize) -> Result<usize, Errno> {
    call!(libc::SYS_ftruncate, file.0, length)
}

fn write_at(file: &Descriptor, offset: usize, length: usize) -> Result<usize, Errno> {
    call!(libc::SYS_pwrite64, file.0, vec![1u8; length].as_ptr(), length, offset)
}

fn punch(file: &Descriptor) -> Result<usize, Errno> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    call!(libc::SYS_fallocate, file.0, mode, 0, PAGE)
}

fn map(file: &Descriptor, protection: i32, flags: i32) -> Result<usize, Errno> {
    mmap(0, PAGE, protection, flags, file.0, 0)
}

pub fn cases(plan: &mut Plan) {
    plan.case("it is an empty file without a name, and shows what it was called", || {
        let file = create(libc::MFD_CLOEXEC)?;
        equal("F_GETFD", call!(libc::SYS_fcntl, file.0, libc::F_GETFD), Ok(1))?;
        let status = file::status_of(file.0)?;
        equal("mode, links, size", (status.st_mode, status.st_nlink, status.st_size), (0o100777, 0, 0))?;
        let link = file::readlink(&format!("/proc/self/fd/{}", file.0)).step("readlink")?;
        equal("link", link, "/memfd:gno mon (deleted)".into())?;
        file.write(&[1; 100]).step("write")?;
        let at = map(&file, BOTH, libc::MAP_SHARED).step("mmap")?;
        let maps = file::read("/proc/self/maps").step("maps")?;
        let line = maps.lines().find(|line| line.starts_with(&format!("{at:x}-"))).step("the mapping")?;
        holds(line.ends_with(" /memfd:gno mon (deleted)"), || line.into())?;
        refused("flag", create(0x100), Errno::EINVAL)?;
        let long = std::ffi::CString::new(vec![b'x'; 250]).unwrap_or_default();
        refused("name of 250", call!(libc::SYS_memfd_create, long.as_c_str(), 0), Errno::EINVAL)
    });
    plan.case("only a file made for it takes seals, and none after F_SEAL_SEAL", || {
        let plain = create(0)?;
        equal("seals", seals(&plain), Ok(libc::F_SEAL_SEAL as usize))?;
        refused("sealing", seal(&plain, libc::F_SEAL_WRITE), Errno::EPERM)?;
        let file = sealable()?;
        equal("none yet", seals(&file), Ok(0))?;
        refused("unknown", seal(&file, 0x1000), Errno::EINVAL)?;
        seal(&file, libc::F_SEAL_GROW | libc::F_SEAL_SEAL).step("sealing")?;
        equal("seals", seals(&file), Ok((libc::F_SEAL_GROW | libc::F_SEAL_SEAL) as usize))?;
        refused("one more", seal(&file, libc::F_SEAL_SHRINK), Errno::EPERM)?;
        let reading = Descriptor::open(&format!("/proc/self/fd/{}", sealable()?.0), libc::O_RDONLY);
        holds(reading.is_err(), || "it was opened after it was closed".into())?;
        let file = sealable()?;
        let reading = Descriptor::open(&format!("/proc/self/fd/{}", file.0), libc::O_RDONLY).step("open")?;
        refused("by a reader", seal(&reading, libc::F_SEAL_WRITE), Errno::EPERM)?;
        refused("a pipe's", seals(&Descriptor(crate::system::process::pipe()?.0)), Errno::EINVAL)
    });
    plan.case("F_SEAL_SHRINK and F_SEAL_GROW keep the length", || {
        let file = sealable()?;
        seal(&file, libc::F_SEAL_SHRINK).step("sealing")?;
        refused("shrinking", truncate(&file, PAGE), Errno::EPERM)?;
        truncate(&file, 3 * PAGE).step("growing")?;
        seal(&file, libc::F_SEAL_GROW).step("sealing")?;
        refused("growing", truncate(&file, 4 * PAGE), Errno::EPERM)?;
        refused("writing beyond", write_at(&file, 3 * PAGE, 1), Errno::EPERM)?;
        equal(
            "writing over the end",
            write_at(&file, 3 * PAGE - 10, 20).is_ok_and(|count| count > 10),
            false,
        )?;
        refused("fallocate", call!(libc::SYS_fallocate, file.0, 0, 0, 4 * PAGE), Errno::EPERM)?;
        equal("writing within", write_at(&file, PAGE, 10), Ok(10))?;
        truncate(&file, 3 * PAGE).step("the same length").map(|_| ())
    });
    plan.case(
        "F_SEAL_WRITE: no write, no hole, no mapping to store through; it can still be looked at",
        || {
            let file = sealable()?;
            seal(&file, libc::F_SEAL_WRITE).step("sealing")?;
            refused("write", write_at(&file, 0, 1), Errno::EPERM)?;
            refused("hole", punch(&file), Errno::EPERM)?;
            refused("mapping", map(&file, BOTH, libc::MAP_SHARED), Errno::EPERM)?;
            let at = map(&file, READ, libc::MAP_SHARED).step("a mapping to look at")?;
            refused("mprotect", call!(libc::SYS_mprotect, at, PAGE, BOTH), Errno::EACCES)?;
            let at = map(&file, BOTH, libc::MAP_PRIVATE).step("a private mapping")?;
            // SAFETY: the page was just mapped, to be written.
            unsafe { (at as *mut u8).write_volatile(9) };
            truncate(&file, PAGE).step("shrinking").map(|_| ())
        },
    );
    plan.case(
        "F_SEAL_WRITE waits for the last mapping that could store; F_SEAL_FUTURE_WRITE does not",
        || {
            let file = sealable()?;
            let (at, copy) = (map(&file, BOTH, libc::MAP_SHARED)?, map(&file, READ, libc::MAP_SHARED)?);
            refused("mapped", seal(&file, libc::F_SEAL_WRITE), Errno::EBUSY)?;
            seal(&file, libc::F_SEAL_FUTURE_WRITE).step("F_SEAL_FUTURE_WRITE")?;
            // SAFETY: the page is mapped, to be written.
            unsafe { (at as *mut u8).write_volatile(9) };
            refused("write", write_at(&file, 0, 1), Errno::EPERM)?;
            refused("mapping", map(&file, BOTH, libc::MAP_SHARED), Errno::EPERM)?;
            call!(libc::SYS_munmap, at, PAGE).step("munmap")?;
            refused("one that can be made writable", seal(&file, libc::F_SEAL_WRITE), Errno::EBUSY)?;
            call!(libc::SYS_munmap, copy, PAGE).step("munmap")?;
            seal(&file, libc::F_SEAL_WRITE).step("sealing").map(|_| ())
        },
    );
}
